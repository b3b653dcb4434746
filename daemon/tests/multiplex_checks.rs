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
