//! `flow.check`: every mistake in a spec is named, at its place.

use serde_json::{Value, json};

use crate::support::*;

pub(crate) fn good() -> Value {
    json!({
        "listen": "127.0.0.1:10001",
        "protocol": "tcp",
        "target": "receiver.example:10001",
        "mirrors": [{
            "address": "127.0.0.1:10002",
            "from_client": true,
            "from_target": true,
            "to_client": false,
            "required": false,
            "buffer": "64 KiB",
            "when_full": "detach",
            "spool": {"max_bytes": "64 MiB", "max_age": "1h", "partial": "drop"},
        }],
        "connect_timeout": "2s",
        "idle_timeout": 300,
        "keepalive": true,
        "max_connections": 100,
        "udp_session_timeout": "30s",
        "udp_sessions": 100,
        "proxy_protocol": "v2",
        "trusted_proxies": ["10.0.0.1"],
        "allow": ["192.168.1.0/24", "::1"],
    })
}

fn check(daemon: &Daemon, spec: &Value) -> Vec<(String, String)> {
    let result = daemon.call("flow.check", json!({"kind": "mirror", "spec": spec})).unwrap();
    let problems = result["problems"].as_array().unwrap();
    assert_eq!(result["ok"], problems.is_empty(), "{result}");
    let text = |problem: &Value, key: &str| problem[key].as_str().unwrap().to_owned();
    problems.iter().map(|problem| (text(problem, "pointer"), text(problem, "message"))).collect()
}

/// A wrong value and the place that is named, if it is not the one of the value.
pub(crate) const WRONG: &[(&str, &[&str])] = &[
    (
        "/listen",
        &["10001", "\"10001\"", "\"0.0.0.0:99999\"", "\"example.org:80\"", "\"0.0.0.0\"", "null", "[]", "true"],
    ),
    ("/protocol", &["\"sctp\"", "\"TCP\"", "6", "null", "[]"]),
    (
        "/target",
        &["\"receiver\"", "\"receiver:0\"", "\"receiver:99999\"", "\"::1:80\"", "\"127.0.0.1:10001\"", "\"localhost:10001\"", "1", "null", "[]"],
    ),
    ("/mirrors", &["[]", "{}", "null", "\"127.0.0.1:1\"", "3"]),
    ("/mirrors/0", &["\"127.0.0.1:1\"", "null", "5"]),
    (
        "/mirrors/0/address",
        &["\"x\"", "\"x:0\"", "\"127.0.0.1:10001\"", "\"a b:1\"", "\"300.1.1.1:1\"", "null", "7"],
    ),
    ("/mirrors/0/from_client", &["\"yes\"", "1", "null"]),
    ("/mirrors/0/from_target", &["\"yes\"", "1", "null"]),
    ("/mirrors/0/to_client", &["\"yes\"", "1", "null"]),
    ("/mirrors/0/spool", &["\"on\"", "1", "true"]),
    ("/mirrors/0/spool/max_bytes", &["\"much\"", "0", "\"1 KiB\"", "null"]),
    ("/mirrors/0/spool/max_age", &["\"long\"", "0", "\"30s\"", "\"400d\"", "null"]),
    ("/mirrors/0/spool/partial", &["\"keep\"", "true", "null"]),
    ("/mirrors/0/required", &["\"yes\"", "1", "null"]),
    (
        "/mirrors/0/buffer",
        &["\"much\"", "0", "1023", "-1", "1.5", "\"2 GiB\"", "99999999999999999999", "null", "true"],
    ),
    ("/mirrors/0/when_full", &["\"explode\"", "1", "null"]),
    ("/mirrors/0/colour", &["\"blue\""]),
    ("/connect_timeout", &["\"soon\"", "0", "-1", "\"5 parsecs\"", "1e300", "null", "true"]),
    ("/idle_timeout", &["\"never\"", "0", "\"500ms\"", "-5", "false"]),
    ("/keepalive", &["\"on\"", "1", "null"]),
    ("/max_connections", &["0", "-1", "1000001", "99999999999", "1.5", "\"many\"", "null"]),
    ("/udp_session_timeout", &["\"soon\"", "0", "\"2d\"", "null"]),
    ("/udp_sessions", &["0", "-1", "65537", "1.5", "null"]),
    ("/proxy_protocol", &["\"v3\"", "2", "true", "null"]),
    ("/trusted_proxies", &["\"10.0.0.1\"", "7", "null"]),
    ("/trusted_proxies/0", &["\"10.0.0.0/33\"", "\"localhost\"", "7"]),
    ("/allow", &["\"192.168.1.0/24\"", "{}", "7", "null"]),
    ("/allow/0", &["\"192.168.1.0/33\"", "\"localhost\"", "\"\"", "7", "null"]),
    ("/allow/1", &["\"::1/129\"", "\"x\""]),
    ("/lisen", &["\"127.0.0.1:1\""]),
];

#[test]
fn a_good_spec_has_no_problems_and_starts_nothing() {
    let daemon = Daemon::start();
    assert_eq!(check(&daemon, &good()), []);
    assert_eq!(daemon.call("flow.list", json!({})).unwrap(), json!([]));
    for (field, values) in [
        ("/listen", ["[::]:502", "localhost:1"]),
        ("/target", ["[::1]:80", "my_host:65535"]),
        ("/connect_timeout", ["500ms", "1m"]),
        ("/mirrors/0/buffer", ["1 MiB", "65536"]),
    ] {
        for value in values {
            assert_eq!(check(&daemon, &good().with(field, value)), [], "{field} = {value}");
        }
    }
    for field in
        ["/protocol", "/connect_timeout", "/idle_timeout", "/keepalive", "/max_connections", "/allow", "/mirrors/0/buffer", "/mirrors/0/from_client"]
    {
        assert_eq!(check(&daemon, &good().without(field)), [], "without {field}");
    }
}

#[test]
fn every_wrong_value_of_every_field_is_named_at_its_place() {
    let daemon = Daemon::start();
    for (field, values) in WRONG {
        for value in *values {
            let value: Value = serde_json::from_str(value).unwrap();
            let problems = check(&daemon, &good().with(field, &value));
            let places: Vec<_> = problems.iter().map(|(place, _)| place.as_str()).collect();
            assert_eq!(places, [format!("/spec{field}")], "{field} = {value}: {problems:?}");
            assert!(problems[0].1.chars().count() >= 10, "{field} = {value}: {problems:?}");
        }
    }
    // The table has every field that there is.
    let schema = daemon.call("flow.kinds", json!({})).unwrap()[0]["schema"].take();
    let leg = &schema["properties"]["mirrors"]["items"]["properties"];
    for (prefix, properties) in [("", &schema["properties"]), ("/mirrors/0", leg), ("/mirrors/0/spool", &leg["spool"]["properties"])] {
        for name in properties.as_object().unwrap().keys() {
            assert!(WRONG.iter().any(|(field, _)| *field == format!("{prefix}/{name}")), "{prefix}/{name} is not in the table");
        }
    }
}

#[test]
fn what_does_not_go_together_is_named() {
    let daemon = Daemon::start();
    let plain = good().without("/mirrors/0/spool");
    for (spec, place) in [
        (good().with("/mirrors/0/to_client", true), "mirrors/0/spool"),
        (good().with("/mirrors/0/when_full", "block"), "mirrors/0/spool"),
        (good().with("/mirrors/0/required", true), "mirrors/0/spool"),
        (good().without("/idle_timeout").without("/trusted_proxies").with("/protocol", "udp"), "mirrors/0/spool"),
        (plain.clone().without("/trusted_proxies").with("/protocol", "udp"), "idle_timeout"),
        (plain.clone().without("/idle_timeout").with("/protocol", "udp"), "trusted_proxies"),
    ] {
        let problems = check(&daemon, &spec);
        assert_eq!(problems.iter().map(|(at, _)| at.clone()).collect::<Vec<_>>(), [format!("/spec/{place}")], "{spec}");
    }
    let udp = plain.without("/idle_timeout").without("/trusted_proxies").with("/protocol", "udp");
    assert_eq!(check(&daemon, &udp), []);
    for (field, value) in [("/proxy_protocol", json!("v1")), ("/mirrors/0/required", json!(true)), ("/mirrors/0/when_full", json!("block"))] {
        assert_eq!(check(&daemon, &udp.clone().with(field, value))[0].0, format!("/spec{field}"));
    }
}

#[test]
fn what_is_missing_is_named() {
    let daemon = Daemon::start();
    for field in ["/listen", "/target", "/mirrors", "/mirrors/0/address"] {
        let problems = check(&daemon, &good().without(field));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].0, format!("/spec{field}"));
        assert!(problems[0].1.contains("missing"), "{problems:?}");
    }
    let nothing_copied = good().with("/mirrors/0/from_client", false).with("/mirrors/0/from_target", false);
    assert_eq!(check(&daemon, &nothing_copied)[0].0, "/spec/mirrors/0/from_client");
    let many: Vec<Value> = (0..17).map(|i| json!({"address": format!("127.0.0.1:{}", 20_000 + i)})).collect();
    assert_eq!(check(&daemon, &good().with("/mirrors", many))[0].0, "/spec/mirrors");
    for spec in [json!(null), json!([]), json!("x"), json!(7)] {
        let problems = check(&daemon, &spec);
        assert_eq!((problems.len(), problems[0].0.as_str()), (1, "/spec"), "{problems:?}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let daemon = Daemon::start();
    let spec = json!({
        "listen": "10001",
        "mirrors": [
            {"address": "127.0.0.1:10002", "when_full": "explode", "buffer": "much"},
            {"addres": "127.0.0.1:1"},
            {"address": "127.0.0.1:10003", "buffer": 7},
        ],
        "connect_timeout": "soon",
        "max_connections": 0,
        "allow": ["192.168.1.0/24", "home"],
        "colour": "blue",
    });
    let mut places: Vec<String> = check(&daemon, &spec).into_iter().map(|(place, _)| place).collect();
    places.sort();
    assert_eq!(
        places,
        [
            "/spec/allow/1",
            "/spec/colour",
            "/spec/connect_timeout",
            "/spec/listen",
            "/spec/max_connections",
            "/spec/mirrors/0/buffer",
            "/spec/mirrors/0/when_full",
            "/spec/mirrors/1/addres",
            "/spec/mirrors/1/address",
            "/spec/mirrors/2/buffer",
            "/spec/target",
        ]
    );
    // flow.apply says the same, and starts nothing.
    let error = daemon.apply("panel", &spec).unwrap_err();
    assert_eq!(error["data"]["kind"], "invalid_spec");
    assert_eq!(error["data"]["problems"].as_array().unwrap().len(), places.len(), "{error}");
    assert_eq!(daemon.call("flow.list", json!({})).unwrap(), json!([]));
}

#[test]
fn a_wrong_kind_and_a_wrong_id_are_named() {
    let daemon = Daemon::start();
    let result = daemon.call("flow.check", json!({"id": "a b", "kind": "mirrr", "spec": {}})).unwrap();
    let places: Vec<_> = result["problems"].as_array().unwrap().iter().map(|p| p["pointer"].clone()).collect();
    assert_eq!(places, ["/id", "/kind"], "{result}");
    assert!(result["problems"][1]["message"].as_str().unwrap().contains("mirror"), "{result}");
}

#[test]
fn what_a_person_wrote_cannot_break_a_message() {
    let daemon = Daemon::start();
    for text in ["\u{1b}[31mred", "a\nb", "\u{202e}gnp", &"x".repeat(100_000)] {
        for field in ["/target", "/protocol", "/connect_timeout", "/allow/0"] {
            let problems = check(&daemon, &good().with(field, text));
            assert_eq!(problems[0].0, format!("/spec{field}"));
            assert!(
                problems[0].1.len() < 3000 && !problems[0].1.chars().any(|c| c.is_control() || c == '\u{202e}'),
                "{problems:?}"
            );
        }
    }
}

#[test]
fn the_flow_that_listens_there_is_named_before_anything_is_started() {
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(([127, 0, 0, 1], 9).into(), &[([127, 0, 0, 1], 9).into()]));
    let spec = |listen: String| json!({"listen": listen, "target": "127.0.0.1:9", "mirrors": [{"address": "127.0.0.1:9"}]});
    let ask = |id: Option<&str>, spec: &Value| daemon.call("flow.check", json!({"id": id, "kind": "mirror", "spec": spec})).unwrap();
    for there in [format!("127.0.0.1:{}", at.port()), format!("0.0.0.0:{}", at.port()), format!("[::]:{}", at.port())] {
        for other in [None, Some("other")] {
            let result = ask(other, &spec(there.clone()));
            assert_eq!(result["problems"][0]["pointer"], "/spec/listen", "{there}: {result}");
            assert!(result["problems"][0]["message"].as_str().unwrap().contains("\"panel\" listens"), "{result}");
        }
        assert_eq!(ask(Some("panel"), &spec(there))["ok"], true, "itself");
    }
    for free in [format!("127.0.0.2:{}", at.port()), format!("[::1]:{}", at.port())] {
        assert_eq!(ask(None, &spec(free))["ok"], true);
    }
    let by_udp = spec(format!("127.0.0.1:{}", at.port())).with("/protocol", "udp");
    assert_eq!(ask(None, &by_udp)["ok"], true, "another protocol");
    daemon.call("flow.remove", json!({"id": "panel"})).unwrap();
    assert_eq!(ask(None, &spec(at.to_string()))["ok"], true);
}
