//! The methods of the API.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

/// Every method there is. Who adds one adds it here, and a test.
const METHODS: &[&str] = &[
    "callback.remove",
    "callback.set",
    "callback.status",
    "daemon.hello",
    "daemon.set_log_level",
    "daemon.stop",
    "event.poll",
    "flow.apply",
    "flow.check",
    "flow.counters",
    "flow.kinds",
    "flow.list",
    "flow.probe",
    "flow.remove",
    "flow.reset_counters",
    "flow.restart",
    "flow.set_counters",
    "flow.status",
    "flow.sync",
    "log.tail",
];

#[test]
fn discover_describes_every_method() {
    let daemon = Daemon::start();
    let document = daemon.call("rpc.discover", json!({})).unwrap();
    let described: Vec<_> = document["methods"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(described, METHODS);
    for method in document["methods"].as_array().unwrap() {
        assert!(method["summary"].as_str().is_some_and(|s| s.len() > 10), "{method}");
        assert!(method["result"]["schema"].is_object() && method["params"].is_array(), "{method}");
        let name = method["name"].as_str().unwrap();
        let error = daemon.call(name, json!({"no_such_field": 1})).unwrap_err();
        assert_eq!((&error["code"], &error["data"]["field"]), (&json!(-32602), &json!("/no_such_field")), "{name}: {error}");
    }
    let codes: BTreeSet<i64> = document["components"]["errors"].as_array().unwrap().iter().map(|e| e["code"].as_i64().unwrap()).collect();
    assert_eq!(codes.len(), document["components"]["errors"].as_array().unwrap().len(), "two errors have one code");
}

#[test]
fn calls_that_are_none_are_refused_as_json_rpc_says() {
    let daemon = Daemon::start();
    for (body, code) in [
        ("{", -32700),
        ("", -32700),
        ("not json", -32700),
        (r#"{"id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600),
        ("[]", -32600),
    ] {
        let reply = daemon.post(body);
        assert_eq!(reply.json()["error"]["code"], code, "{body:?}: {reply:?}");
    }
    let error = daemon.call("flow.fly", json!({})).unwrap_err();
    assert_eq!(error["code"], -32601, "{error}");
    let error = daemon.call("flow.status", json!(["panel"])).unwrap_err();
    assert_eq!(error["code"], -32602, "{error}");
    assert!(error["message"].as_str().unwrap().contains("object"), "{error}");
    let error = daemon.call("flow.status", json!({})).unwrap_err();
    assert_eq!((&error["data"]["kind"], &error["data"]["field"]), (&json!("invalid_params"), &json!("/id")), "{error}");
    let error = daemon
        .call("flow.sync", json!({"owner": "test", "flows": [{"id": "a", "kind": "mirror", "spec": {}, "enable": true}]}))
        .unwrap_err();
    assert_eq!(error["data"]["field"], "/flows/0/enable", "{error}");
    let error = daemon.call("log.tail", json!({"lines": "many"})).unwrap_err();
    assert_eq!(error["data"]["field"], "/lines", "{error}");
}

#[test]
fn a_batch_is_answered_and_one_that_is_too_large_refused() {
    let daemon = Daemon::start();
    let call = |id: usize| json!({"jsonrpc": "2.0", "id": id, "method": "daemon.hello", "params": {"client": "tests", "api": 1}});
    let batch = |n: usize| Value::from((0..n).map(call).collect::<Vec<_>>()).to_string();
    let answers = daemon.post(&batch(50)).json();
    let ids: BTreeSet<u64> = answers.as_array().unwrap().iter().map(|a| a["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..50).collect());
    assert!(answers.as_array().unwrap().iter().all(|a| a["result"]["api"] == 1));
    let refused = daemon.post(&batch(51)).json();
    assert!(refused["error"]["code"].is_i64(), "{refused}");
    let mixed = json!([call(1), {"jsonrpc": "2.0", "id": 2, "method": "flow.fly"}]).to_string();
    let answers = daemon.post(&mixed).json();
    assert_eq!((&answers[0]["result"]["api"], &answers[1]["error"]["code"]), (&json!(1), &json!(-32601)), "{answers}");
}

#[test]
fn apply_says_whether_it_created_or_changed_something() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    assert_eq!(daemon.apply("panel", &spec).unwrap()["applied"], "created");
    assert_eq!(daemon.apply("panel", &spec).unwrap()["applied"], "unchanged");
    assert_eq!(daemon.apply("panel", &spec.clone().with("/keepalive", false)).unwrap()["applied"], "changed");
    let foreign = daemon
        .call("flow.apply", json!({"id": "panel", "owner": "other", "kind": "mirror", "spec": spec}))
        .unwrap_err();
    assert_eq!((&foreign["data"]["kind"], &foreign["data"]["owner"]), (&json!("foreign_flow"), &json!("test")), "{foreign}");
    assert_eq!(daemon.status("panel")["owner"], "test");
    let error = daemon.apply("panel", &spec.clone().with("/target", "nowhere")).unwrap_err();
    assert_eq!((&error["data"]["kind"], &error["data"]["field"]), (&json!("invalid_spec"), &json!("/spec/target")), "{error}");
    assert_eq!(daemon.status("panel")["spec"]["keepalive"], false);
    for (id, owner, field) in [("a b", "test", "/id"), ("", "test", "/id"), ("../x", "test", "/id"), ("a", "o/o", "/owner")] {
        let error = daemon.call("flow.apply", json!({"id": id, "owner": owner, "kind": "mirror", "spec": spec})).unwrap_err();
        assert_eq!((&error["data"]["kind"], &error["data"]["field"]), (&json!("invalid_spec"), &json!(field)), "{error}");
    }
    for method in ["flow.status", "flow.remove", "flow.restart", "flow.reset_counters"] {
        let error = daemon.call(method, json!({"id": "nobody"})).unwrap_err();
        assert_eq!(error["data"]["kind"], "unknown_flow", "{method}: {error}");
    }
    assert_eq!(daemon.call("flow.counters", json!({"ids": ["nobody"]})).unwrap_err()["data"]["kind"], "unknown_flow");
}

#[test]
fn sync_makes_an_owners_flows_what_it_wants_and_leaves_the_rest_alone() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    let flow = |id: &str, spec: &Value| json!({"id": id, "kind": "mirror", "spec": spec});
    let sync = |flows: Value| daemon.call("flow.sync", json!({"owner": "jeedom", "flows": flows}));
    daemon.mirror("foreign", &spec);
    let synced = sync(json!([flow("a", &spec), flow("b", &spec), flow("c", &spec)])).unwrap();
    assert_eq!(synced, json!({"created": ["a", "b", "c"], "changed": [], "unchanged": [], "removed": [], "failed": []}));
    let at = daemon.listening("a");
    let mut running = connect(at);
    assert_eq!(running.ask(b"one"), b"one");
    let changed = spec.clone().with("/keepalive", false);
    let bad = spec.clone().with("/target", "nowhere");
    let synced = sync(json!([flow("a", &spec), flow("b", &changed), flow("d", &bad), flow("foreign", &spec)])).unwrap();
    assert_eq!((&synced["unchanged"], &synced["changed"], &synced["removed"]), (&json!(["a"]), &json!(["b"]), &json!(["c"])));
    assert_eq!(
        (&synced["created"], &synced["failed"][0]["id"], &synced["failed"][1]["id"]),
        (&json!([]), &json!("d"), &json!("foreign"))
    );
    assert_eq!(synced["failed"][0]["problems"][0]["pointer"], "/spec/target");
    assert!(synced["failed"][1]["error"].as_str().unwrap().contains("\"test\""), "{synced}");
    assert_eq!(running.ask(b"two"), b"two");
    assert_eq!(daemon.listening("a"), at);
    let error = sync(json!([])).unwrap_err();
    assert_eq!((&error["data"]["kind"], &error["data"]["count"]), (&json!("would_remove_all"), &json!(2)), "{error}");
    assert_eq!(running.ask(b"three"), b"three");
    let error = sync(json!([flow("a", &spec), flow("a", &spec)])).unwrap_err();
    assert_eq!((&error["data"]["kind"], &error["data"]["field"]), (&json!("invalid_spec"), &json!("/flows/1/id")), "{error}");
    let emptied = daemon.call("flow.sync", json!({"owner": "jeedom", "flows": [], "allow_empty": true})).unwrap();
    assert_eq!(emptied["removed"], json!(["a", "b"]));
    assert_eq!(running.receive_all().0, b"");
    assert_eq!(daemon.call("flow.sync", json!({"owner": "nobody", "flows": []})).unwrap()["removed"], json!([]));
    let left: Vec<_> = daemon.call("flow.list", json!({})).unwrap().as_array().unwrap().iter().map(|f| f["id"].clone()).collect();
    assert_eq!(left, ["foreign"]);
    assert_eq!(daemon.call("flow.list", json!({"owner": "jeedom"})).unwrap(), json!([]));
}

#[test]
fn sync_hands_a_port_from_a_flow_that_goes_to_one_that_comes() {
    let (target, sink, port) = (echo(), Sink::start(), Nobody::new());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]).with("/listen", port.address);
    for id in ["a-old", "z-new", "a-newer"] {
        let flows = json!([{"id": id, "kind": "mirror", "spec": spec}]);
        let synced = daemon.call("flow.sync", json!({"owner": "test", "flows": flows})).unwrap();
        assert_eq!((&synced["created"], &synced["failed"]), (&json!([id]), &json!([])), "{synced}");
        assert_eq!(exchange(port.address, id.as_bytes()).0, id.as_bytes());
    }
}

#[test]
fn a_poll_tells_what_happens_when_it_happens() {
    let (target, sink, down) = (echo(), Sink::start(), Nobody::new());
    let daemon = Daemon::start();
    let poll = |cursor: &Value, wait: u64| daemon.call("event.poll", json!({"cursor": cursor, "wait_ms": wait})).unwrap();
    let start = daemon.call("event.poll", json!({})).unwrap();
    assert_eq!((&start["events"], &start["missed"]), (&json!([]), &json!(false)));
    let spec = mirror(target.address, &[sink.address()]);
    let (polled, waited) = std::thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let started = Instant::now();
            (poll(&start["cursor"], 10_000), started.elapsed())
        });
        until("the poll waits", || (daemon.descriptors() > 0).then_some(()));
        daemon.mirror("panel", &spec);
        poller.join().unwrap()
    });
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    let event = &polled["events"][0];
    assert_eq!(
        (&event["kind"], &event["flow"], &event["text"]),
        (&json!("status"), &json!("panel"), &json!("serving")),
        "{polled}"
    );
    let at = daemon.mirror("panel", &spec.clone().with("/target", down.address));
    is_turned_away(at);
    let trouble = until("the trouble is told", || {
        let polled = poll(&polled["cursor"], 1000);
        polled["events"].as_array().unwrap().iter().find(|e| e["kind"] == "trouble").cloned()
    });
    assert!(trouble["text"].as_str().unwrap().contains("connection refused"), "{trouble}");
    let now = daemon.call("event.poll", json!({})).unwrap();
    daemon.call("flow.remove", json!({"id": "panel"})).unwrap();
    let polled = poll(&now["cursor"], 5000);
    assert_eq!(polled["events"].as_array().unwrap().last().unwrap()["kind"], "removed", "{polled}");
    // Nothing more: the poll ends empty, with the same cursor.
    let empty = poll(&polled["cursor"], 50);
    assert_eq!((&empty["events"], &empty["cursor"]), (&json!([]), &polled["cursor"]));
}

#[test]
fn a_cursor_of_another_start_means_that_events_were_missed() {
    let mut daemon = Daemon::start();
    let old = daemon.call("event.poll", json!({})).unwrap();
    assert!(daemon.stop().success());
    daemon.start_again();
    for cursor in [old["cursor"].as_str().unwrap(), "", "nonsense", "0:0", "0123456789abcdef:5"] {
        let polled = daemon.call("event.poll", json!({"cursor": cursor, "wait_ms": 5000})).unwrap();
        assert_eq!((&polled["missed"], &polled["events"]), (&json!(true), &json!([])), "{cursor:?}");
        let next = daemon.call("event.poll", json!({"cursor": polled["cursor"], "wait_ms": 0})).unwrap();
        assert_eq!(next["missed"], false);
    }
}

#[test]
fn the_log_can_be_read_by_flow_and_its_level_changed() {
    let (target, sink, down) = (echo(), Sink::start(), Nobody::new());
    let daemon = Daemon::start();
    for id in ["one", "two"] {
        let at = daemon.mirror(id, &mirror(down.address, &[sink.address()]));
        is_turned_away(at);
        daemon.counts(id, "targetErrConnect", 1);
    }
    let lines = daemon.call("log.tail", json!({"lines": 100, "flow": "two"})).unwrap();
    let lines = lines.as_array().unwrap();
    assert!(!lines.is_empty() && lines.iter().all(|line| line["flow"] == "two"), "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|line| line["level"] == "warn" && line["text"].as_str().unwrap().contains("connection refused")),
        "{lines:?}"
    );
    let all = daemon.call("log.tail", json!({})).unwrap();
    let seqs: Vec<u64> = all.as_array().unwrap().iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted() && seqs.len() > lines.len(), "{seqs:?}");
    let last = daemon.call("log.tail", json!({"lines": 1})).unwrap();
    assert_eq!(last[0]["seq"], *seqs.last().unwrap());
    assert_eq!(daemon.call("log.tail", json!({"after": seqs.last()})).unwrap(), json!([]));
    daemon.call("daemon.set_log_level", json!({"level": "debug"})).unwrap();
    let at = daemon.mirror("one", &mirror(target.address, &[sink.address()]));
    exchange(at, b"x");
    until("connections are in the log", || {
        let lines = daemon.call("log.tail", json!({"flow": "one"})).unwrap();
        lines.as_array().unwrap().iter().any(|line| line["level"] == "debug").then_some(())
    });
    daemon.call("daemon.set_log_level", json!({"level": "none"})).unwrap();
    let before = daemon.call("log.tail", json!({"lines": 1})).unwrap();
    daemon.call("flow.remove", json!({"id": "one"})).unwrap();
    assert_eq!(daemon.call("log.tail", json!({"lines": 1})).unwrap(), before);
    daemon.call("daemon.set_log_level", json!({"level": "info"})).unwrap();
    daemon.call("flow.remove", json!({"id": "two"})).unwrap();
    assert!(daemon.call("log.tail", json!({"lines": 1})).unwrap()[0]["text"].as_str().unwrap().contains("removed"));
    let error = daemon.call("daemon.set_log_level", json!({"level": "loud"})).unwrap_err();
    assert_eq!(error["data"]["field"], "/level", "{error}");
}

#[test]
fn kinds_are_described_in_english_and_french() {
    let daemon = Daemon::start();
    let english = daemon.call("flow.kinds", json!({})).unwrap();
    let french = daemon.call("flow.kinds", json!({"language": "fr_FR"})).unwrap();
    assert_eq!((&english[0]["kind"], &french[0]["kind"]), (&json!("mirror"), &json!("mirror")));
    let title = "/0/schema/properties/target/title";
    assert_eq!((english.pointer(title), french.pointer(title)), (Some(&json!("Target")), Some(&json!("Destination"))));
    let names = |kinds: &Value| kinds[0]["counters"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&english), names(&french));
    assert_eq!(daemon.call("flow.kinds", json!({"language": "xx"})).unwrap(), english);
    let marked = |mark: &str| {
        let counters = english[0]["counters"].as_array().unwrap().iter().filter(|c| c[mark].as_bool().unwrap());
        counters.map(|c| c["name"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let history = ["activeConnections", "clientRxBytes", "clientTxBytes"];
    assert_eq!(marked("history"), history.map(str::to_owned).into());
    let main = ["clientConnections", "mirrorDroppedBytes", "mirrorErrConnect", "targetErrConnect", "spooledBytes"];
    assert_eq!(marked("main"), history.into_iter().chain(main).map(str::to_owned).collect());
}

#[test]
fn stop_answers_and_ends_the_daemon() {
    let mut daemon = Daemon::start();
    assert_eq!(daemon.call("daemon.stop", json!({})).unwrap()["ok"], true);
    assert!(daemon.process.exit().success());
    assert!(!daemon.file("endpoint.json").exists());
}

/// `last_error` stays; what is wrong now does not.
#[test]
fn troubles_last_until_they_are_mended_or_the_spec_is_another_one() {
    let (target, away) = (echo(), Nobody::new());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[away.address]);
    let at = daemon.mirror("panel", &spec);
    let troubles = || daemon.status("panel")["troubles"].as_array().unwrap().clone();
    let none: &[Value] = &[];
    assert_eq!(troubles(), none);
    let ask = || assert_eq!(exchange(at, b"hello").0, b"hello");
    ask();
    until("the mirror is a trouble", || {
        troubles().first().filter(|t| t["text"].as_str().unwrap().contains(&away.address.to_string())).map(drop)
    });
    assert!(daemon.status("panel")["isListening"].as_bool().unwrap());
    let sink = Sink::start();
    let other = spec.with("/listen", at.to_string()).with("/mirrors/0/address", sink.address().to_string());
    daemon.call("flow.apply", json!({"id": "panel", "owner": "test", "kind": "mirror", "spec": other})).unwrap();
    assert_eq!(troubles(), none, "of the old spec");
    assert!(!daemon.status("panel")["last_error"].is_null());
}
