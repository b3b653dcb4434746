//! `flow.check` of a multiplexer: every mistake is named, at its place.

use serde_json::{Value, json};

use crate::support::*;

fn good() -> Value {
    json!({
        "listen": "127.0.0.1:5020",
        "protocol": "modbus",
        "target": "inverter.example:502",
        "client_protocol": "modbus-rtu-tcp",
        "timeout": 60,
        "delay": "2s",
        "max_connections": 2,
        "in_flight": 4,
        "reconnect_backoff": "1s",
        "connect_timeout": "5s",
        "health_check_interval": "30s",
        "probe": {"unit": 1, "function": 3, "address": 0, "count": 2},
        "queue_size": 32,
        "on_busy": "busy",
        "request_gap": "50ms",
        "connect_delay": "500ms",
        "close_when_idle": 10,
        "idle_timeout": 600,
        "max_clients": 100,
        "max_message": "1 MiB",
        "keepalive": true,
        "allow": ["192.168.1.0/24", "::1"],
        "retry_reads": 2,
        "coalesce": true,
        "cache": [{"ttl": 1, "units": "1,3", "functions": "3-4", "addresses": "0-99"}],
        "read_only": "deny",
        "allow_writes": [{"units": 1, "functions": "6,16", "addresses": "100-110"}],
        "unit_map": [{"from": 1, "to": 247}],
        "routes": [{"units": "2-4", "target": "other.example:502"}],
        "match": "id",
    })
}

fn serial() -> Value {
    let device = json!({"device": "/dev/ttyUSB0", "baud_rate": 9600, "data_bits": 8, "parity": "even", "stop_bits": 1});
    json!({"listen": "127.0.0.1:5020", "protocol": "modbus-rtu", "serial": device})
}

fn problems(daemon: &Daemon, spec: &Value) -> Vec<(String, String)> {
    let result = daemon.call("flow.check", json!({"kind": "multiplexer", "spec": spec})).unwrap();
    let problems = result["problems"].as_array().unwrap();
    assert_eq!(result["ok"], problems.is_empty(), "{result}");
    let text = |problem: &Value, key: &str| problem[key].as_str().unwrap().to_owned();
    problems.iter().map(|problem| (text(problem, "pointer"), text(problem, "message"))).collect()
}

/// Wrong values of each field.
const WRONG: &[(&str, &[&str])] = &[
    ("/listen", &["5020", "\"0.0.0.0:99999\"", "\"example.org:80\"", "null", "[]"]),
    ("/protocol", &["\"mqtt\"", "\"MODBUS\"", "6", "null"]),
    ("/target", &["\"inverter\"", "\"inverter:0\"", "\"inverter:99999\"", "\"127.0.0.1:5020\"", "1", "[]"]),
    ("/client_protocol", &["\"modbus-rtu\"", "\"http\"", "\"x\"", "7"]),
    ("/timeout", &["\"soon\"", "0", "-1", "\"1ms\"", "\"2d\"", "null"]),
    ("/delay", &["\"soon\"", "-1", "\"2d\"", "null"]),
    ("/max_connections", &["0", "65", "-1", "1.5", "null"]),
    ("/in_flight", &["0", "1025", "-1", "\"many\"", "null"]),
    ("/reconnect_backoff", &["0", "\"1ms\"", "\"2d\"", "\"x\"", "null"]),
    ("/connect_timeout", &["0", "\"1ms\"", "\"2d\"", "\"x\"", "null"]),
    ("/health_check_interval", &["\"500ms\"", "\"2d\"", "\"x\"", "null"]),
    ("/probe", &["7", "\"read\"", "[]"]),
    ("/probe/unit", &["256", "-1", "\"x\"", "null"]),
    ("/probe/function", &["0", "5", "256", "null"]),
    ("/probe/address", &["65536", "-1", "null"]),
    ("/probe/count", &["0", "126", "null"]),
    ("/queue_size", &["0", "65537", "-1", "null"]),
    ("/on_busy", &["\"drop\"", "1", "null"]),
    ("/request_gap", &["-1", "\"2d\"", "\"x\"", "null"]),
    ("/connect_delay", &["-1", "\"2d\"", "\"x\"", "null"]),
    ("/close_when_idle", &["-1", "\"2d\"", "\"x\""]),
    ("/idle_timeout", &["0", "\"500ms\"", "\"2d\"", "\"x\""]),
    ("/max_clients", &["0", "1000001", "null"]),
    ("/max_message", &["1023", "\"65 MiB\"", "\"much\"", "null"]),
    ("/keepalive", &["1", "\"on\"", "null"]),
    ("/allow", &["\"192.168.1.0/24\"", "7", "null"]),
    ("/allow/0", &["\"192.168.1.0/33\"", "\"localhost\"", "7"]),
    ("/retry_reads", &["11", "-1", "null"]),
    ("/coalesce", &["1", "\"yes\"", "null"]),
    ("/cache", &["{}", "7", "null"]),
    ("/cache/0/ttl", &["-1", "\"2d\"", "null"]),
    ("/cache/0/units", &["\"1-256\"", "\"x\"", "\"3-1\"", "\"\"", "70000"]),
    ("/cache/0/functions", &["256", "\"x\"", "-1"]),
    ("/cache/0/addresses", &["65536", "\"9-1\"", "\"1,,2\""]),
    ("/read_only", &["\"yes\"", "true", "null"]),
    ("/allow_writes", &["{}", "null"]),
    ("/allow_writes/0/units", &["256", "\"x\""]),
    ("/allow_writes/0/functions", &["256", "\"x\""]),
    ("/allow_writes/0/addresses", &["65536", "\"x\""]),
    ("/unit_map", &["{}", "null"]),
    ("/unit_map/0/from", &["256", "-1", "null"]),
    ("/unit_map/0/to", &["256", "\"x\"", "null"]),
    ("/routes", &["{}", "null"]),
    ("/routes/0/units", &["\"2-256\"", "\"x\"", "null"]),
    ("/routes/0/target", &["\"other\"", "\"other:0\"", "\"127.0.0.1:5020\"", "null"]),
    ("/match", &["\"name\"", "1", "null"]),
    ("/colour", &["\"blue\""]),
];

const WRONG_SERIAL: &[(&str, &[&str])] = &[
    ("/serial", &["\"/dev/ttyUSB0\"", "7"]),
    ("/serial/device", &["\"\"", "7", "null"]),
    ("/serial/baud_rate", &["299", "4000001", "\"fast\"", "null"]),
    ("/serial/data_bits", &["6", "9", "null"]),
    ("/serial/parity", &["\"mark\"", "1", "null"]),
    ("/serial/stop_bits", &["0", "3", "null"]),
    ("/max_connections", &["2"]),
    ("/in_flight", &["2"]),
    ("/target", &["\"inverter:502\""]),
];

#[test]
fn good_specs_have_no_problems() {
    let daemon = Daemon::start();
    assert_eq!(problems(&daemon, &good()), []);
    assert_eq!(problems(&daemon, &serial()), []);
    assert_eq!(problems(&daemon, &json!({"listen": "0.0.0.0:8000", "target": "127.0.0.1:1234"})), []);
    let optional = good();
    for field in optional.as_object().unwrap().keys().filter(|name| !["listen", "target", "protocol"].contains(&name.as_str())) {
        assert_eq!(problems(&daemon, &good().without(&format!("/{field}"))), [], "without {field}");
    }
    for (field, value) in [
        ("/target", json!(["a:502", "[::1]:502"])),
        ("/health_check_interval", json!(0)),
        ("/close_when_idle", json!(0)),
        ("/cache/0/units", json!(3)),
        ("/protocol", json!("modbus-tcp-crc")),
    ] {
        assert_eq!(problems(&daemon, &good().with(field, &value)), [], "{field} = {value}");
    }
    assert_eq!(daemon.call("flow.list", json!({})).unwrap(), json!([]));
}

#[test]
fn every_wrong_value_of_every_field_is_named_at_its_place() {
    let daemon = Daemon::start();
    let mut bad = Vec::new();
    for (good, table) in [(good(), WRONG), (serial(), WRONG_SERIAL)] {
        for (field, values) in table {
            for value in *values {
                let value: Value = serde_json::from_str(value).unwrap();
                let found = problems(&daemon, &good.clone().with(field, &value));
                let places: Vec<_> = found.iter().map(|(place, _)| place.as_str()).collect();
                if places != [format!("/spec{field}")] || found[0].1.chars().count() < 10 {
                    bad.push(format!("{field} = {value}: {found:?}"));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    // The tables have every field that there is.
    let kinds = daemon.call("flow.kinds", json!({})).unwrap();
    let schema = &kinds.as_array().unwrap().iter().find(|kind| kind["kind"] == "multiplexer").unwrap()["schema"];
    for name in schema["properties"].as_object().unwrap().keys() {
        let field = format!("/{name}");
        assert!(
            [WRONG, WRONG_SERIAL].iter().any(|table| table.iter().any(|(known, _)| *known == field)),
            "{field} is not in the table"
        );
    }
}

#[test]
fn what_does_not_go_together_is_named() {
    let daemon = Daemon::start();
    let places = |spec: &Value| problems(&daemon, spec).into_iter().map(|(place, _)| place).collect::<Vec<_>>();
    let lines = json!({"listen": "127.0.0.1:8000", "protocol": "echo", "target": "a:1"});
    for (field, value) in [
        ("probe", json!({"address": 0})),
        ("cache", json!([{"ttl": 1}])),
        ("read_only", json!("deny")),
        ("allow_writes", json!([{"units": 1}])),
        ("unit_map", json!([{"from": 1, "to": 2}])),
        ("routes", json!([{"units": 1, "target": "b:1"}])),
        ("match", json!("order")),
        ("in_flight", json!(2)),
        ("client_protocol", json!("modbus")),
        ("serial", json!({"device": "/dev/ttyUSB0"})),
    ] {
        assert_eq!(places(&lines.clone().with(&format!("/{field}"), value)), [format!("/spec/{field}")]);
    }
    assert_eq!(places(&good().with("/match", "order")), ["/spec/in_flight"]);
    assert_eq!(places(&good().with("/protocol", "modbus-rtu-tcp")), ["/spec/in_flight"]);
    assert_eq!(
        places(&good().with("/unit_map", json!([{"from": 1, "to": 2}, {"from": 1, "to": 3}]))),
        ["/spec/unit_map/1/from"]
    );
    assert_eq!(places(&good().with("/target", ["a:1", "b:1", "a:1"])), ["/spec/target/2"]);
    assert_eq!(places(&lines.clone().without("/target")), ["/spec/target"]);
    assert_eq!(places(&lines.without("/listen")), ["/spec/listen"]);
    assert_eq!(places(&serial().without("/serial")), ["/spec/serial"]);
    for field in ["/probe/address", "/cache/0/ttl", "/unit_map/0/from", "/unit_map/0/to", "/routes/0/units", "/routes/0/target"] {
        assert_eq!(places(&good().without(field)), [format!("/spec{field}")]);
    }
    let routes: Vec<_> = (1..9).map(|unit| json!({"units": unit, "target": format!("b:{unit}")})).collect();
    assert_eq!(places(&good().with("/routes", &routes).with("/max_connections", 28)), [""; 0]);
    assert_eq!(places(&good().with("/routes", routes).with("/max_connections", 29)), ["/spec/max_connections"]);
    let too_many: Vec<_> = (0..65).map(|_| json!({"ttl": 1})).collect();
    assert_eq!(places(&good().with("/cache", too_many)), ["/spec/cache"]);
}
