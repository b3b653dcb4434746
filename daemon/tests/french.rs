//! What is said to a person of a French host is French, all of it.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::api_checks::{WRONG, good};
use crate::support::*;

/// Words that no French text has. What people wrote is in quotes, and not looked at.
const ENGLISH: &[&str] = &[
    "the", "is", "are", "be", "must", "write", "expected", "with", "has", "not", "and", "or", "of", "this", "cannot", "wrong", "integer", "string",
    "sequence", "map", "struct", "missing", "within", "there", "only",
];

/// Fails if an English word is left.
#[track_caller]
fn is_french(text: &str) {
    let unquoted: String = text.split(['"', '`']).step_by(2).collect();
    let left: Vec<_> = unquoted
        .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.')
        .filter(|word| ENGLISH.contains(word))
        .collect();
    assert!(
        left.is_empty() && !text.is_empty(),
        "{left:?} in {text:?}: its French is not in resources/i18n/fr.errors.json"
    );
}

#[track_caller]
fn all_french(daemon: &Daemon, spec: &Value) {
    all_french_of(daemon, "mirror", spec);
}

#[track_caller]
fn all_french_of(daemon: &Daemon, kind: &str, spec: &Value) {
    let check = json!({"kind": kind, "spec": spec});
    let english = daemon.call("flow.check", check.clone()).unwrap();
    let french = daemon.call_in_french("flow.check", check).unwrap();
    let pair = english["problems"].as_array().unwrap().iter().zip(french["problems"].as_array().unwrap());
    assert!(pair.len() > 0, "nothing is wrong with {spec}");
    for (english, french) in pair {
        assert_eq!(english["pointer"], french["pointer"]);
        let text = french["message"].as_str().unwrap();
        assert_ne!(english["message"], text, "no French for it");
        is_french(text);
    }
}

#[test]
fn everything_that_can_be_wrong_with_a_form_is_said_in_french() {
    let daemon = Daemon::start();
    for (field, values) in WRONG {
        for value in *values {
            all_french(&daemon, &good().with(field, serde_json::from_str::<Value>(value).unwrap()));
        }
        for value in [json!({"a": 1}), json!([1, "x"]), json!(1.5), json!(u64::MAX), json!("\u{e9} ; x: y"), json!("1.5x")] {
            let spec = good().with(field, &value);
            if daemon.call("flow.check", json!({"kind": "mirror", "spec": spec})).unwrap()["ok"] == false {
                all_french(&daemon, &spec);
            }
        }
    }
    let plain = good().without("/mirrors/0/spool");
    let udp = plain.clone().without("/idle_timeout").without("/trusted_proxies").with("/protocol", "udp");
    for spec in [
        good().with("/mirrors/0/to_client", true),
        good().with("/mirrors/0/when_full", "block"),
        good().with("/mirrors/0/required", true),
        good().with("/mirrors/0/from_client", false).with("/mirrors/0/from_target", false),
        good().with("/protocol", "udp"),
        udp.clone().with("/proxy_protocol", "v1"),
        udp.clone().with("/mirrors/0/required", true),
        udp.with("/mirrors/0/when_full", "block"),
        good().with("/mirrors", vec![json!({"address": "127.0.0.1:1"}); 17]),
        good().with("/target", json!(["a.example:1", "a.example:1"])),
        good().with("/target", json!([])),
        good().with("/target", json!((1..10).map(|i| format!("a.example:{i}")).collect::<Vec<_>>())),
        good().with("/target", "[::1]"),
        good().with("/mirrors/0/buffer", "99999999999 GiB"),
        good().with("/connect_timeout", "1.2.3s"),
        good().without("/listen").without("/target").without("/mirrors"),
        json!([]),
    ] {
        all_french(&daemon, &spec);
    }
}

/// A multiplexer without a mistake.
fn shared() -> Value {
    json!({
        "listen": "127.0.0.1:5020", "protocol": "modbus", "target": "127.0.0.1:502", "probe": {"address": 1}, "cache": [{"ttl": 1, "units": "1,3-5"}],
        "allow_writes": [{"addresses": "1-9"}], "unit_map": [{"from": 1, "to": 2}], "routes": [{"units": 3, "target": "127.0.0.1:503"}],
    })
}

#[test]
fn everything_that_can_be_wrong_with_a_multiplexer_is_said_in_french() {
    let daemon = Daemon::start();
    let fine = daemon.call("flow.check", json!({"kind": "multiplexer", "spec": shared()})).unwrap();
    assert_eq!(fine["ok"], true, "{fine}");
    let long = json!("2d");
    for (field, value) in [
        ("/protocol", json!("modbux")),
        ("/protocol", json!("http")),
        ("/protocol", json!("modbus-rtu")),
        ("/target", json!("127.0.0.1:5020")),
        ("/target", json!("127.0.0.1:0")),
        ("/target", json!(["a:1", "a:1"])),
        ("/target", Value::Null),
        ("/serial", json!({"device": "/dev/ttyUSB0"})),
        ("/client_protocol", json!("http")),
        ("/client_protocol", json!("modbus-rtu")),
        ("/max_connections", json!(65)),
        ("/in_flight", json!(0)),
        ("/queue_size", json!(0)),
        ("/max_clients", json!(0)),
        ("/max_message", json!("1 GiB")),
        ("/retry_reads", json!(11)),
        ("/timeout", json!(0)),
        ("/connect_timeout", long.clone()),
        ("/reconnect_backoff", long.clone()),
        ("/delay", long.clone()),
        ("/request_gap", long.clone()),
        ("/connect_delay", long.clone()),
        ("/health_check_interval", json!("10ms")),
        ("/idle_timeout", json!("10ms")),
        ("/close_when_idle", long.clone()),
        ("/on_busy", json!("explode")),
        ("/read_only", json!(true)),
        ("/match", json!("luck")),
        ("/cache/0/ttl", long),
        ("/cache/0/ttl", Value::Null),
        ("/cache/0/units", json!("x")),
        ("/cache/0/units", json!("5-3")),
        ("/cache/0/units", json!(300)),
        ("/cache/0/units", json!(true)),
        ("/cache/0/functions", json!("300")),
        ("/cache/0/addresses", json!((0..99).map(|n| n.to_string()).collect::<Vec<_>>().join(","))),
        ("/cache", json!(vec![json!({"ttl": 1}); 65])),
        ("/allow_writes/0/functions", json!(256)),
        ("/unit_map", json!([{"from": 1, "to": 2}, {"from": 1, "to": 3}])),
        ("/unit_map/0/to", json!(256)),
        ("/routes/0/units", json!(256)),
        ("/routes/0/target", json!("127.0.0.1:5020")),
        ("/probe/function", json!(6)),
        ("/probe/count", json!(126)),
        ("/probe", json!({})),
    ] {
        all_french_of(&daemon, "multiplexer", &shared().with(field, value));
    }
    let line = json!({"listen": "127.0.0.1:5020", "protocol": "modbus-rtu", "serial": {"device": "/dev/ttyUSB0"}});
    for (field, value) in [
        ("/serial/device", json!("")),
        ("/serial/baud_rate", json!(1)),
        ("/serial/data_bits", json!(9)),
        ("/serial/stop_bits", json!(3)),
        ("/serial/parity", json!("some")),
        ("/max_connections", json!(2)),
        ("/in_flight", json!(2)),
    ] {
        all_french_of(&daemon, "multiplexer", &line.clone().with(field, value));
    }
}

#[test]
fn what_goes_wrong_with_a_shared_device_is_french() {
    // A device that reads and says nothing, one that says what is no Modbus, one that closes at once, one that is not there.
    let (silent, nobody, daemon) = (Sink::start(), Nobody::new(), Daemon::start());
    let serving = |answer: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                use std::io::{Read as _, Write as _};
                let mut stream = stream;
                if !answer.is_empty() && stream.read(&mut [0; 64]).is_ok_and(|n| n > 0) {
                    let _ = stream.write_all(answer);
                    let _ = stream.read(&mut [0; 64]);
                }
            }
        });
        at
    };
    let (wrong, closing) = (serving(b"no modbus at all"), serving(b""));
    for (id, at) in [("silent", silent.address()), ("wrong", wrong), ("closing", closing), ("away", nobody.address)] {
        let spec =
            json!({"listen": "127.0.0.1:0", "protocol": "modbus", "target": at, "timeout": "300ms", "health_check_interval": 0, "retry_reads": 0});
        let mut client = connect(daemon.flow("multiplexer", id, &spec));
        client.send(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1]);
        let said = until("it is said", || {
            let status = daemon.call_in_french("flow.status", json!({"id": id})).unwrap();
            let text = status["last_error"]["text"].as_str().map(str::to_owned)?;
            status["troubles"].as_array().unwrap().iter().for_each(|trouble| is_french(trouble["text"].as_str().unwrap()));
            Some(text)
        });
        is_french(&said);
    }
}

#[test]
fn errors_of_calls_are_french_and_their_kinds_are_not() {
    let (target, foreign, daemon) = (echo(), TcpListener::bind("127.0.0.1:0").unwrap(), Daemon::start());
    let plain = mirror(target.address, &[target.address]);
    let at = daemon.mirror("panel", &plain);
    let apply = |id: &str, owner: &str, spec: &Value| json!({"id": id, "owner": owner, "kind": "mirror", "spec": spec});
    for (method, params, kind) in [
        ("flow.status", json!({"id": "gone"}), "unknown_flow"),
        ("flow.status", json!({"id": 7}), "invalid_params"),
        ("flow.status", json!({"id": "a", "x": 1}), "invalid_params"),
        ("flow.status", json!({}), "invalid_params"),
        ("flow.apply", apply("panel", "jeedom", &plain), "foreign_flow"),
        ("flow.apply", apply("a b", "jeedom", &plain), "invalid_spec"),
        ("flow.apply", apply("x", "jeedom", &json!({"listen": "1"})), "invalid_spec"),
        ("flow.apply", json!({"id": "x", "owner": "jeedom", "kind": "x", "spec": {}}), "invalid_spec"),
        ("flow.apply", apply("x", "jeedom", &plain.clone().with("/listen", at)), "cannot_listen"),
        (
            "flow.apply",
            apply("y", "jeedom", &plain.clone().with("/listen", foreign.local_addr().unwrap())),
            "cannot_listen",
        ),
        ("flow.apply", apply("z", "jeedom", &plain.clone().with("/listen", "192.0.2.1:1")), "cannot_listen"),
        ("flow.sync", json!({"owner": "test", "flows": []}), "would_remove_all"),
        ("flow.set_counters", json!({"id": "panel", "counters": {"a/b": 1}}), "invalid_params"),
        ("daemon.hello", json!({"client": "tests", "api": 99}), "unknown_version"),
        ("callback.set", json!({"url": "http://192.0.2.1/", "key": "12345678"}), "invalid_params"),
        ("callback.set", json!({"url": "http://127.0.0.1/", "key": "1"}), "invalid_params"),
        ("callback.set", json!({"url": "ftp://127.0.0.1/", "key": "12345678"}), "invalid_params"),
        ("callback.set", json!({"url": "http://me@127.0.0.1/", "key": "12345678"}), "invalid_params"),
        ("callback.set", json!({"url": "http://127.0.0.1/?x", "key": "12345678"}), "invalid_params"),
        ("callback.set", json!({"url": "http://127.0.0.1/#x", "key": "12345678"}), "invalid_params"),
        ("callback.set", json!({"url": "http://127.0.0.1:x/", "key": "12345678"}), "invalid_params"),
        ("callback.set", json!({"url": "http://127.0.0.1/12345678", "key": "12345678"}), "invalid_params"),
        ("callback.set", json!({"url": "x".repeat(2000), "key": "12345678"}), "invalid_params"),
    ] {
        let english = daemon.call(method, params.clone()).unwrap_err();
        if kind == "cannot_listen" {
            daemon.call("flow.remove", json!({"id": params["id"]})).unwrap(); // the same once more would be no change
        }
        let french = daemon.call_in_french(method, params).unwrap_err();
        assert_eq!((&french["code"], &french["data"]["kind"]), (&english["code"], &json!(kind)));
        assert_eq!(french["data"]["field"], english["data"]["field"]);
        is_french(french["message"].as_str().unwrap());
    }
    // Of flows that are listed nevertheless, the status says why.
    for flow in daemon.call_in_french("flow.list", json!({"owner": "jeedom"})).unwrap().as_array().unwrap() {
        is_french(flow["error"].as_str().unwrap());
        is_french(flow["last_error"]["text"].as_str().unwrap());
    }
    let flows: Vec<_> = [("a", "x"), ("b", &at.to_string())]
        .map(|(id, listen)| json!({"id": id, "kind": "mirror", "spec": plain.clone().with("/listen", listen)}))
        .into();
    let synced = daemon.call_in_french("flow.sync", json!({"owner": "other", "flows": flows})).unwrap();
    assert_eq!(synced["failed"].as_array().unwrap().len(), 2, "{synced}");
    synced["failed"].as_array().unwrap().iter().for_each(|failed| is_french(failed["error"].as_str().unwrap()));
    // The log stays as it is.
    let lines = daemon.call_in_french("log.tail", json!({"lines": 100})).unwrap();
    assert!(lines.to_string().contains("cannot listen on") && !lines.to_string().contains("impossible"), "{lines}");
    let said = daemon.process.stderr();
    assert!(!said.contains("impossible"), "{said}");
}

#[test]
fn what_goes_wrong_while_a_flow_runs_and_what_a_probe_finds_is_french() {
    let (nobody, daemon) = (Nobody::new(), Daemon::start());
    let spec = mirror(nobody.address, &[nobody.address]).with("/connect_timeout", "500ms");
    let at = daemon.mirror("panel", &spec);
    is_turned_away(at);
    let text = until("it is said", || {
        daemon.call_in_french("flow.status", json!({"id": "panel"})).unwrap()["last_error"]["text"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(text.contains("connexion refusée"), "{text}");
    is_french(&text);
    for spec in
        [spec.clone(), spec.with("/target", "no-such-host.invalid:1"), udp_mirror(nobody.address, &[nobody.address]).with("/listen", "192.0.2.1:1")]
    {
        let found = daemon.call_in_french("flow.probe", json!({"kind": "mirror", "spec": spec})).unwrap();
        found["findings"].as_array().unwrap().iter().for_each(|finding| is_french(finding["text"].as_str().unwrap()));
    }
    daemon.call("callback.set", json!({"url": format!("http://{}/", nobody.address), "key": "12345678"})).unwrap();
    let text = until("it fails", || {
        daemon.call_in_french("callback.status", json!({})).unwrap()["last_error"]["text"].as_str().map(str::to_owned)
    });
    is_french(&text);
    assert_eq!(daemon.call("flow.status", json!({"id": "panel"})).unwrap()["spec"]["target"], json!(nobody.address));
}
