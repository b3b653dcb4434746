//! `flow.probe`: what is found about the addresses of a spec, before it runs.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

#[track_caller]
fn probe(daemon: &Daemon, id: Option<&str>, spec: &Value) -> Vec<Value> {
    let mut result = daemon.call("flow.probe", json!({"id": id, "kind": "mirror", "spec": spec})).unwrap();
    result["findings"].take().as_array().unwrap().clone()
}

/// Pointer and verdict.
fn verdicts(findings: &[Value]) -> Vec<(&str, Option<bool>)> {
    findings.iter().map(|f| (f["pointer"].as_str().unwrap(), f["ok"].as_bool())).collect()
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn each_address_is_tried_and_nobody_gets_a_byte() {
    let (sink, other, nobody, daemon) = (Sink::start(), Sink::start(), Nobody::new(), Daemon::start());
    let spec = mirror(sink.address(), &[other.address(), nobody.address])
        .with("/listen", Nobody::new().address)
        .with("/target", json!([sink.address(), format!("localhost:{}", nobody.address.port())]));
    let findings = probe(&daemon, None, &spec);
    assert_eq!(
        verdicts(&findings),
        [
            ("/listen", Some(true)),
            ("/target/0", Some(true)),
            ("/target/1", Some(false)),
            ("/mirrors/0/address", Some(true)),
            ("/mirrors/1/address", Some(false)),
        ]
    );
    assert_eq!((&findings[0]["ms"], &findings[2]["ms"]), (&Value::Null, &Value::Null));
    assert!(findings[1]["ms"].as_u64().unwrap() < 2000, "{findings:#?}");
    assert!(findings[1]["text"].as_str().unwrap().contains(&sink.address().to_string()), "{findings:#?}");
    let text = findings[4]["text"].as_str().unwrap();
    assert_eq!(text, format!("cannot connect to {}: connection refused", nobody.address));
    for sink in [&sink, &other] {
        let record = sink.one();
        assert_eq!((record.bytes.len(), record.end), (0, Some(End::Fin)));
    }
    assert_eq!(daemon.call("flow.list", json!({})).unwrap(), json!([]));
}

#[test]
fn an_address_that_is_taken_is_said_in_the_words_of_apply() {
    let (target, foreign, daemon) = (echo(), TcpListener::bind("127.0.0.1:0").unwrap(), Daemon::start());
    let plain = mirror(target.address, &[target.address]);
    let at = daemon.mirror("panel", &plain);
    for (listen, word) in [
        (foreign.local_addr().unwrap().to_string(), "address already in use"),
        (at.to_string(), "flow \"panel\" listens"),
        (format!("0.0.0.0:{}", at.port()), "flow \"panel\" listens on"),
        ("192.0.2.1:10001".to_owned(), "cannot assign requested address"),
    ] {
        let spec = plain.clone().with("/listen", &listen);
        let finding = &probe(&daemon, Some("other"), &spec)[0];
        let text = finding["text"].as_str().unwrap();
        assert!(finding["ok"] == false && text.contains(word), "{listen}: {finding}");
        let refused = daemon.apply("other", &spec).unwrap_err();
        assert_eq!(refused["message"], text);
        daemon.call("flow.remove", json!({"id": "other"})).unwrap();
        assert_eq!(probe(&daemon, None, &spec)[0]["ok"], false, "{listen}");
    }
    // What a flow has already is no obstacle to itself, nor is what overlaps with it.
    for listen in [at.to_string(), format!("0.0.0.0:{}", at.port())] {
        let findings = probe(&daemon, Some("panel"), &plain.clone().with("/listen", &listen));
        assert_eq!(verdicts(&findings)[0], ("/listen", Some(true)), "{findings:?}");
    }
    assert_eq!(exchange(at, b"it goes on").0, b"it goes on");
    assert_eq!(probe(&daemon, None, &plain)[0]["ok"], true, "any free port");
}

#[test]
fn with_udp_nobody_can_know_and_it_says_so() {
    let (taken, daemon) = (UdpSocket::bind("127.0.0.1:0").unwrap(), Daemon::start());
    let (target, silent) = (Udp::new(), Udp::new());
    let spec = udp_mirror(target.address(), &[silent.address()]).with("/listen", taken.local_addr().unwrap());
    let spec = spec.with("/target", json!([target.address(), "no-such-host.invalid:1"]));
    let findings = probe(&daemon, None, &spec);
    assert_eq!(
        verdicts(&findings),
        [("/listen", Some(false)), ("/target/0", None), ("/target/1", Some(false)), ("/mirrors/0/address", None)]
    );
    assert!(findings[1]["text"].as_str().unwrap().contains("can't be known with UDP"), "{findings:#?}");
    assert!(findings[2]["text"].as_str().unwrap().contains("name"), "{findings:#?}");
    target.is_silent();
    silent.is_silent();
    // TCP is not in the way of UDP.
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let findings = probe(&daemon, None, &spec.with("/listen", tcp.local_addr().unwrap()));
    assert_eq!(verdicts(&findings)[0], ("/listen", Some(true)));
}

#[test]
fn a_wrong_spec_is_answered_as_apply_does() {
    let daemon = Daemon::start();
    let spec = json!({"listen": "x", "target": "receiver.example:1", "mirrors": []});
    let error = daemon.call("flow.probe", json!({"kind": "mirror", "spec": spec})).unwrap_err();
    assert_eq!(error, daemon.apply("panel", &spec).unwrap_err());
    assert_eq!(error["data"]["kind"], "invalid_spec");
    let error = daemon.call("flow.probe", json!({"kind": "mirrr", "spec": {}})).unwrap_err();
    assert_eq!(error["data"]["problems"][0]["pointer"], "/kind");
}

#[test]
fn who_swallows_packets_costs_no_more_than_the_timeout_all_together() {
    let (stuck, daemon) = (Narrow::filled(), Daemon::start());
    let spec = mirror(stuck.address, &[stuck.address; 3]).with("/listen", free()).with("/connect_timeout", "300ms");
    let started = Instant::now();
    let findings = probe(&daemon, None, &spec);
    assert!(
        findings[1..]
            .iter()
            .all(|f| f["ok"] == false && f["text"].as_str().unwrap().contains("no answer within 0.3 s")),
        "{findings:#?}"
    );
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    // Six at once: four are tried, the others wait for their turn.
    let spec = spec.with("/connect_timeout", "600ms");
    let started = Instant::now();
    std::thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(|| assert_eq!(probe(&daemon, None, &spec).len(), 5)))));
    assert!(started.elapsed() >= Duration::from_millis(1200), "more than four at the same time: {:?}", started.elapsed());
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}
