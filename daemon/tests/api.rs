//! The HTTP side of the API: who may call, and what callers can't do to it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

/// A POST to `/` with other heads than usual.
fn post(heads: &str, body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{heads}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn call_hello() -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": "daemon.hello", "params": {"client": "tests", "api": 1}}).to_string()
}

#[test]
fn hello_says_who_answers() {
    let daemon = Daemon::start();
    let hello = daemon.call("daemon.hello", json!({"client": "tests", "api": 1})).unwrap();
    assert_eq!((&hello["api"], &hello["api_min"]), (&json!(1), &json!(1)));
    assert_eq!(hello["pid"], daemon.process.pid());
    assert_eq!(hello["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(hello["state_dir"], daemon.state_dir().to_str().unwrap());
    assert_eq!((&hello["instance"], &hello["degraded"]), (&json!("default"), &json!([])));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!((now - 60_000..=now).contains(&hello["started_at"].as_u64().unwrap()), "{hello}");
    let endpoint: Value = serde_json::from_str(&std::fs::read_to_string(daemon.file("endpoint.json")).unwrap()).unwrap();
    assert_eq!((&endpoint["boot_id"], &endpoint["version"]), (&hello["boot_id"], &hello["version"]));
    for wrong in [0, 2, 99] {
        let error = daemon.call("daemon.hello", json!({"client": "tests", "api": wrong})).unwrap_err();
        assert_eq!((&error["data"]["kind"], &error["data"]["field"]), (&json!("unknown_version"), &json!("/api")), "{error}");
    }
}

#[test]
fn without_the_token_nobody_is_answered() {
    let daemon = Daemon::start();
    let host = format!("Host: {}\r\n", daemon.address);
    let almost = format!("{}x", &daemon.token[..daemon.token.len() - 1]);
    for authorization in [
        "",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer wrong\r\n",
        &format!("Authorization: Bearer {almost}\r\n"),
        &format!("Authorization: {}\r\n", daemon.token),
    ] {
        let reply = daemon.raw(&post(&format!("{host}{authorization}"), &call_hello()));
        assert_eq!(reply.status, 401, "{authorization:?}: {reply:?}");
        assert!(reply.json()["error"].as_str().unwrap().contains("token"), "{reply:?}");
        assert!(!reply.body.contains(&daemon.token) && !reply.body.contains("version"), "{reply:?}");
    }
    let reply = daemon.raw(&post(&format!("{host}Authorization: Bearer {}\r\n", daemon.token), &call_hello()));
    assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(7)));
    assert!(reply.head.to_lowercase().contains("content-type: application/json"), "{reply:?}");
    assert!(!daemon.process.stderr().contains(&daemon.token), "the token is in the log");
}

#[test]
fn no_web_page_can_call() {
    let daemon = Daemon::start();
    let token = format!("Authorization: Bearer {}\r\n", daemon.token);
    let host = format!("Host: {}\r\n", daemon.address);
    for heads in [
        "Host: evil.example\r\n".to_owned(),
        format!("Host: evil.example:{}\r\n", daemon.address.port()),
        "Host: 192.168.1.9\r\n".to_owned(),
        format!("{host}Host: evil.example\r\n"),
        format!("{host}Origin: http://evil.example\r\n"),
        format!("{host}Origin: http://{}\r\n", daemon.address),
        format!("{host}Origin: null\r\n"),
        String::new(),
    ] {
        let reply = daemon.raw(&post(&format!("{heads}{token}"), &call_hello()));
        assert!(matches!(reply.status, 400 | 403), "{heads:?}: {reply:?}");
        assert!(!reply.body.contains("version"), "{reply:?}");
        for path in ["/healthz", "/metrics"] {
            let reply = daemon.raw(format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{heads}{token}\r\n").as_bytes());
            assert!(matches!(reply.status, 400 | 403), "{path} {heads:?}: {reply:?}");
        }
    }
    for host in ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:1"] {
        assert_eq!(daemon.raw(&post(&format!("Host: {host}\r\n{token}"), &call_hello())).status, 200, "{host}");
    }
}

#[test]
fn other_methods_and_places_are_refused() {
    let daemon = Daemon::start();
    let get = |line: &str| {
        daemon.raw(
            format!(
                "{line} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                daemon.address, daemon.token
            )
            .as_bytes(),
        )
    };
    for line in ["GET /", "PUT /", "DELETE /", "OPTIONS /", "POST /metrics", "POST /healthz"] {
        assert_eq!(get(line).status, 405, "{line}");
    }
    for line in ["GET /x", "POST /rpc", "GET /../etc/passwd", "GET //healthz"] {
        assert_eq!(get(line).status, 404, "{line}");
    }
    let mut garbage = connect(daemon.address);
    garbage.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n");
    let (answer, _) = garbage.receive_all();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    assert_eq!(get("GET /healthz").status, 200);
}

#[test]
fn healthz_is_for_all_and_metrics_for_those_with_the_token() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    assert_eq!(exchange(at, b"0123456789").0, b"0123456789");
    daemon.counts("panel", "activeConnections", 0);
    let get = |path: &str, heads: &str| {
        daemon.raw(format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{heads}\r\n", daemon.address).as_bytes())
    };
    let healthy = get("/healthz", "");
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "ok\n"));
    assert_eq!(get("/metrics", "").status, 401);
    let metrics = get("/metrics", &format!("Authorization: Bearer {}\r\n", daemon.token));
    assert_eq!(metrics.status, 200);
    let mut known = Vec::new();
    for line in metrics.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
            assert!(!known.contains(&name.to_owned()), "{line} twice");
            known.push(name.to_owned());
        } else if line.starts_with("# HELP ") {
            assert!(line.split(' ').count() > 3, "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(value.parse::<u64>().is_ok(), "{line}");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            assert_eq!(known.last().map(String::as_str), Some(name), "{line} without its type");
            assert!(labels.ends_with('}'), "{line}");
            let pairs = labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
            assert!(pairs.clone().all(|pair| pair.split_once("=\"").is_some_and(|(_, value)| value.ends_with('"'))), "{line}");
        }
    }
    for line in [
        "domoflux_flow_serving{flow=\"panel\",kind=\"mirror\"} 1",
        "domoflux_mirror_client_connections_total{flow=\"panel\"} 1",
        "domoflux_mirror_client_rx_bytes_total{flow=\"panel\"} 10",
        "domoflux_mirror_active_connections{flow=\"panel\"} 0",
    ] {
        assert!(metrics.body.lines().any(|l| l == line), "no {line} in\n{}", metrics.body);
    }
    let public = Daemon::prepare().flag("--metrics-public").start();
    let get = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", public.address);
    assert_eq!(public.raw(get.as_bytes()).status, 200);
}

#[test]
fn a_body_that_is_too_large_is_refused_without_being_read() {
    let daemon = Daemon::start();
    let heads = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        daemon.address, daemon.token
    );
    let started = Instant::now();
    let mut announced = connect(daemon.address);
    announced.send(format!("{heads}Content-Length: 100000000\r\n\r\n").as_bytes());
    let reply = Reply::read(&mut announced);
    assert_eq!(reply.status, 413, "{reply:?}");
    // The same with somebody who goes on sending, announced and in chunks.
    for (length, part) in
        [("Content-Length: 100000000", " ".repeat(10_000)), ("Transfer-Encoding: chunked", format!("2710\r\n{}\r\n", " ".repeat(10_000)))]
    {
        let mut stream = connect(daemon.address);
        stream.send(format!("{heads}{length}\r\n\r\n").as_bytes());
        let sent = (0..10_000).take_while(|_| stream.write_all(part.as_bytes()).is_ok()).count();
        assert!(sent < 2000, "{length}: {sent} parts of 10 kB were taken");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // Up to the limit it is a call like any other.
    let padded = format!("{}{}", call_hello(), " ".repeat((1 << 20) - call_hello().len()));
    assert_eq!(daemon.post(&padded).status, 200);
    assert_eq!(daemon.post(&format!("{padded} ")).status, 413);
    assert!(daemon.process.peak_memory() < 40 << 20);
}

#[test]
fn two_hundred_slow_callers_keep_nobody_out() {
    let daemon = Daemon::start();
    let half = [
        "POST / HTTP/1.1\r\nHost: localhost\r\n".to_owned(),
        "P".to_owned(),
        String::new(),
        "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\nContent-Length: 50\r\n\r\n{".to_owned(),
    ];
    let mut slow: Vec<TcpStream> = Vec::new();
    for round in 0..20 {
        for i in 0..10 {
            let mut stream = connect(daemon.address);
            stream.send(half[(round + i) % half.len()].as_bytes());
            slow.push(stream);
        }
        let started = Instant::now();
        daemon.call("daemon.hello", json!({"client": "tests", "api": 1})).unwrap();
        assert!(started.elapsed() < SOON, "round {round}: {:?}", started.elapsed());
        // They go on, a byte at a time.
        for stream in &mut slow {
            let _ = stream.write_all(b"X");
        }
    }
    assert!(daemon.descriptors() < 120, "{} descriptors", daemon.descriptors());
}

#[test]
fn one_connection_takes_many_calls() {
    let daemon = Daemon::start();
    let mut stream = connect(daemon.address);
    let body = call_hello();
    for _ in 0..3 {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            daemon.address,
            daemon.token,
            body.len()
        );
        stream.send(request.as_bytes());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(stream.receive(1));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let answer: Value = serde_json::from_slice(&stream.receive(length)).unwrap();
        assert_eq!(answer["result"]["api"], 1, "{answer}");
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn old_and_unusual_clients_are_answered_as_well() {
    let daemon = Daemon::start();
    let heads = format!("Host: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n", daemon.address, daemon.token);
    let body = call_hello();
    let length = format!("Content-Length: {}\r\n", body.len());
    for request in [
        format!("POST / HTTP/1.0\r\n{heads}{length}\r\n{body}"),
        format!(
            "POST / HTTP/1.1\r\n{heads}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ),
        format!("POST / HTTP/1.1\r\n{heads}{length}Connection: close\r\n\r\n{body}").replace("Authorization", "authorization"),
    ] {
        let reply = daemon.raw(request.as_bytes());
        assert_eq!(reply.status, 200, "{request}: {reply:?}");
        assert_eq!(reply.json()["result"]["api"], 1);
    }
}

#[test]
fn the_token_can_come_from_the_environment_and_a_short_one_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let args = ["daemon", "--listen", "127.0.0.1:0", "--state-dir", state.path().to_str().unwrap()];
    let token = "a-token-from-the-environment";
    let mut given = domoflux(args);
    given.env("DOMOFLUX_TOKEN", token);
    let mut process = Process::start(given);
    let said = process.says("the API listens on ");
    let at = said.split("the API listens on ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    let reply = request(at, &post(&format!("Host: {at}\r\nAuthorization: Bearer {token}\r\n"), &call_hello()));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(!state.path().join("token").exists());
    process.signal(rustix::process::Signal::TERM);
    assert!(process.exit().success());
    let mut short = domoflux(args);
    short.env("DOMOFLUX_TOKEN", "short");
    let (code, _, said) = run(short);
    assert_eq!(code, 78);
    assert!(said.contains("16 characters"), "{said}");
}

#[test]
fn the_api_listens_on_loopback_only() {
    let state = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:1"] {
        let (code, _, said) = run(domoflux(["daemon", "--listen", listen, "--state-dir", state.path().to_str().unwrap()]));
        assert_eq!(code, 78, "{listen}");
        assert!(said.contains(listen) && said.contains("127.0.0.1"), "{said}");
    }
}
