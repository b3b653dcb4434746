//! The callback to Jeedom: what happens is posted to a page, in order, whatever its web server does.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

const KEY: &str = "a-key-that-nobody-else-may-see";

#[track_caller]
fn set(daemon: &Daemon, url: &str) {
    assert_eq!(daemon.call("callback.set", json!({"url": url, "key": KEY})).unwrap(), json!({"ok": true}));
}

fn status(daemon: &Daemon) -> Value {
    daemon.call("callback.status", json!({})).unwrap()
}

/// Waits until nothing waits any more.
#[track_caller]
fn delivered(daemon: &Daemon) -> Value {
    until("everything is taken", || Some(status(daemon)).filter(|s| s["waiting"] == 0 && s["failing"] == false))
}

fn is_serving(flow: &str) -> impl Fn(&Value) -> bool {
    move |event| event["flow"] == *flow && event["text"] == "serving"
}

/// The numbers of the events of flows.
fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().filter(|e| e["flow"].is_string()).map(|e| e["seq"].as_u64().unwrap()).collect()
}

#[test]
fn what_happens_is_posted_at_once_and_in_order() {
    let (target, sink, page, daemon) = (echo(), Sink::start(), Page::start(), Daemon::start());
    assert_eq!(status(&daemon)["url"], Value::Null);
    set(&daemon, &page.url());
    let first = page.got("the first event", |e| e["kind"] == "started");
    assert_eq!((first.len(), &first[0]["flow"], &first[0]["text"]), (1, &Value::Null, &Value::Null));
    let post = &page.posts()[0];
    let hello = daemon.call("daemon.hello", json!({"client": "tests", "api": 1})).unwrap();
    assert_eq!((&post.body["key"], &post.body["boot_id"]), (&json!(KEY), &hello["boot_id"]));
    assert_eq!((&post.body["version"], &post.body["missed"]), (&hello["version"], &json!(false)));
    assert!(post.head.starts_with("POST /core/php/jeeDomoflux.php HTTP/1.1\r\n"), "{post:?}");
    let head = post.head.to_lowercase();
    for line in ["content-type: application/json", &format!("host: {}", page.address())] {
        assert!(head.lines().any(|l| l == line), "{line}: {head}");
    }
    let started = Instant::now();
    for i in 0..5 {
        daemon.mirror(&format!("flow-{i}"), &mirror(target.address, &[sink.address()]));
    }
    let events = page.got("all serve", is_serving("flow-4"));
    assert!(started.elapsed() < SOON + Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(seqs(&events), (1..=5).collect::<Vec<_>>(), "{events:#?}");
    assert!(
        events[1..].iter().all(|e| e["kind"] == "status" && e["at"].as_u64().unwrap() > 1_700_000_000_000),
        "{events:#?}"
    );
    let now = delivered(&daemon);
    assert_eq!((&now["url"], &now["delivered"], &now["last_error"]), (&json!(page.url()), &json!(6), &Value::Null));
    assert!(now["since"].as_u64() <= now["last_success"].as_u64() && now["since"].is_u64(), "{now}");
    // The same once more: nothing begins anew.
    set(&daemon, &page.url());
    daemon.call("flow.remove", json!({"id": "flow-0"})).unwrap();
    let events = page.got("a removed flow", |e| e["kind"] == "removed");
    assert_eq!(events.iter().filter(|e| e["kind"] == "started").count(), 1, "{events:#?}");
    assert_eq!(seqs(&events), (1..=6).collect::<Vec<_>>());
}

#[test]
fn another_page_gets_what_happens_from_then_on_and_the_old_one_nothing() {
    let (target, old, new, mut daemon) = (echo(), Page::start(), Page::start(), Daemon::start());
    set(&daemon, &old.url());
    daemon.mirror("panel", &mirror(target.address, &[target.address]));
    old.got("it serves", is_serving("panel"));
    assert_eq!(daemon.call("callback.remove", json!({})).unwrap(), json!({"ok": true}));
    assert_eq!(status(&daemon)["url"], Value::Null);
    daemon.call("flow.restart", json!({"id": "panel"})).unwrap();
    daemon.listening("panel");
    let before = old.events().len();
    set(&daemon, &new.url());
    daemon.call("flow.remove", json!({"id": "panel"})).unwrap();
    let events = new.got("a removed flow", |e| e["kind"] == "removed");
    assert_eq!(events.iter().map(|e| e["kind"].clone()).collect::<Vec<_>>(), ["started", "removed"]);
    assert_eq!(old.events().len(), before);
    // What is removed is removed for good.
    daemon.call("callback.remove", json!({})).unwrap();
    daemon.call("callback.remove", json!({})).unwrap();
    daemon.kill();
    daemon.start_again();
    assert_eq!(status(&daemon)["url"], Value::Null);
}

#[test]
fn while_the_web_server_is_down_events_wait_and_arrive_in_order_when_it_is_back() {
    let (target, nobody, daemon) = (echo(), Nobody::new(), Daemon::start());
    set(&daemon, &format!("http://{}/", nobody.address));
    for i in 0..150 {
        daemon.call("flow.apply", json!({"id": format!("f{i}"), "owner": "test", "kind": "mirror", "enabled": false, "spec": mirror(target.address, &[target.address])})).unwrap();
        daemon.call("flow.remove", json!({"id": format!("f{i}")})).unwrap();
    }
    let failing = until("it fails twice", || Some(status(&daemon)).filter(|s| s["failing"] == true));
    assert_eq!((&failing["waiting"], &failing["delivered"]), (&json!(151), &json!(0)), "{failing}");
    let text = failing["last_error"]["text"].as_str().unwrap();
    assert!(text.contains(&nobody.address.to_string()) && text.contains("connection refused"), "{text}");
    let page = Page::start_at(nobody.address);
    let now = delivered(&daemon);
    assert_eq!(now["delivered"], 151);
    assert_eq!(seqs(&page.events()), (1..=150).collect::<Vec<_>>());
    assert!(page.posts().iter().all(|p| p.body["missed"] == false && p.body["events"].as_array().unwrap().len() <= 100));
    let said = daemon.process.stderr();
    assert_eq!(said.matches("cannot tell Jeedom").count(), 1, "{said}");
    assert_eq!(said.matches("is told what happens again").count(), 1, "{said}");
}

#[test]
fn what_is_no_longer_kept_is_missed() {
    let (target, nobody, daemon) = (echo(), Nobody::new(), Daemon::start());
    daemon.mirror("panel", &mirror(target.address, &[target.address]));
    set(&daemon, &format!("http://{}/", nobody.address));
    for _ in 0..510 {
        daemon.call("flow.restart", json!({"id": "panel"})).unwrap();
    }
    daemon.listening("panel");
    assert_eq!(status(&daemon)["waiting"], 1001);
    let page = Page::start_at(nobody.address);
    let all = page.got("the first of those that are left", |e| e["flow"].is_string());
    assert_eq!(page.posts()[0].body["missed"], true);
    assert!(seqs(&all)[0] > 2, "{all:?}");
    delivered(&daemon);
    assert!(page.posts()[1..].iter().all(|p| p.body["missed"] == false));
    let got = seqs(&page.events());
    assert!(got.len() == 1000 && got.windows(2).all(|two| two[0] + 1 == two[1]), "{got:?}");
}

#[test]
fn only_a_success_counts_as_taken() {
    let (target, page, other, daemon) = (echo(), Page::start(), Page::start(), Daemon::start());
    daemon.mirror("panel", &mirror(target.address, &[target.address]));
    set(&daemon, &page.url());
    delivered(&daemon);
    let redirect = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url());
    for (answer, word) in [
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(), "status 500"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(), "Jeedom refuses the key"),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned(), "Jeedom refuses the key"),
        (redirect, "status 307"),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "no HTTP"),
        (format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(100_000)), ""),
        ("HTTP/1.1 200".to_owned(), "closed without an answer"),
    ] {
        page.answers(answer);
        daemon.call("flow.restart", json!({"id": "panel"})).unwrap();
        let failing = until("it fails", || Some(status(&daemon)).filter(|s| s["failing"] == true));
        let text = failing["last_error"]["text"].as_str().unwrap();
        assert!(text.contains(word), "{word}: {text}");
        page.answers(TAKEN);
        delivered(&daemon);
    }
    assert!(other.posts().is_empty(), "a redirect was followed");
    // What follows a success is nobody's business.
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20)),
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly a part".to_owned(),
    ] {
        page.answers(answer);
        let before = page.events().len();
        daemon.call("flow.restart", json!({"id": "panel"})).unwrap();
        until("it is posted", || (page.events().len() > before).then_some(()));
        assert_eq!(delivered(&daemon)["failing"], false);
    }
    let got = seqs(&page.events());
    assert!(got.windows(2).all(|two| two[1] <= two[0] + 1), "out of order: {got:?}");
}

#[test]
fn a_web_server_that_hangs_delays_neither_the_flows_nor_the_stop() {
    let (target, sink, page, mut daemon) = (echo(), Sink::start(), Page::start(), Daemon::start());
    page.answers("");
    set(&daemon, &page.url());
    until("it is posted", || (!page.posts().is_empty()).then_some(()));
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let started = Instant::now();
    assert_eq!(exchange(at, b"nobody waits for Jeedom").0, b"nobody waits for Jeedom");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!(status(&daemon)["failing"], false);
    let failing = until("it gives up", || Some(status(&daemon)).filter(|s| s["failing"] == true));
    assert!(failing["last_error"]["text"].as_str().unwrap().contains("no answer within 10 s"), "{failing}");
    let posts = page.posts().len();
    until("it tries again", || (page.posts().len() > posts).then_some(()));
    let started = Instant::now();
    assert!(daemon.stop().success());
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[test]
fn a_daemon_that_starts_again_goes_on_by_itself() {
    let (target, page, mut daemon) = (echo(), Page::start(), Daemon::start());
    daemon.mirror("panel", &mirror(target.address, &[target.address]));
    set(&daemon, &page.url());
    let since = delivered(&daemon)["since"].clone();
    for n in 2..4 {
        daemon.kill();
        daemon.start_again();
        let starts = |page: &Page| page.posts().iter().filter(|p| p.body["events"][0]["kind"] == "started").cloned().collect::<Vec<_>>();
        let started = until("it says that it has started", || Some(starts(&page)).filter(|starts| starts.len() == n));
        let hello = daemon.call("daemon.hello", json!({"client": "tests", "api": 1})).unwrap();
        assert_eq!(started[n - 1].body["boot_id"], hello["boot_id"]);
        assert_ne!(started[n - 2].body["boot_id"], hello["boot_id"]);
        // What happened before anybody looked is among it.
        assert!(started[n - 1].body["events"].as_array().unwrap().iter().any(is_serving("panel")), "{started:?}");
        assert_eq!(delivered(&daemon)["since"], since);
    }
}

#[test]
fn the_key_is_in_the_body_and_nowhere_else() {
    let (page, mut daemon) = (Page::start(), Daemon::prepare().arg("--log-level", "debug").start());
    page.answers("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    set(&daemon, &page.url());
    until("it fails", || Some(status(&daemon)).filter(|s| s["failing"] == true));
    page.answers(TAKEN);
    delivered(&daemon);
    let post = &page.posts()[0];
    assert!(!post.head.contains(KEY) && post.body["key"] == KEY, "{post:?}");
    assert!(!status(&daemon).to_string().contains(KEY));
    let refused = daemon.call("callback.set", json!({"url": "http://10.0.0.1/", "key": KEY})).unwrap_err();
    assert!(!refused.to_string().contains(KEY), "{refused}");
    let lines = daemon.call("log.tail", json!({"lines": 1000})).unwrap();
    assert!(lines.to_string().contains("Jeedom refuses the key") && !lines.to_string().contains(KEY), "{lines}");
    for running in [true, false] {
        if !running {
            daemon.stop();
        }
        let (code, dump, said) = daemon.cli(&["dump", "--no-redact-addresses"]);
        assert_eq!(code, 0, "{said}");
        assert!(!dump.contains(KEY) && !said.contains(KEY), "{dump}");
        assert_eq!(dump.contains(&page.url()), running, "{dump}");
    }
    assert!(!daemon.process.stderr().contains(KEY));
    let store = std::fs::read(daemon.file("domoflux.db")).unwrap();
    assert!(store.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "the test looks for the wrong thing");
    let mode = std::fs::metadata(daemon.file("domoflux.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn a_page_elsewhere_and_a_weak_key_are_refused() {
    let daemon = Daemon::start();
    for (url, key, field, word) in [
        ("https://127.0.0.1/", KEY, "/url", "http://"),
        ("http://192.168.1.9/", KEY, "/url", "in clear"),
        ("http://localhost.evil.example/", KEY, "/url", "in clear"),
        ("http://me:it@localhost/", KEY, "/url", "password"),
        ("http://localhost/#x", KEY, "/url", "fragment"),
        ("http://localhost/?apikey=x", KEY, "/url", "query"),
        (&format!("http://localhost/{KEY}"), KEY, "/url", "in the body"),
        (&format!("http://localhost/{}", "x".repeat(1024)), KEY, "/url", "1024"),
        ("http://localhost/", "short", "/key", "8 to 256"),
        ("http://localhost/", "with a space", "/key", "8 to 256"),
        ("http://localhost/", &"x".repeat(257), "/key", "8 to 256"),
    ] {
        let error = daemon.call("callback.set", json!({"url": url, "key": key})).unwrap_err();
        assert_eq!((&error["data"]["kind"], &error["data"]["field"]), (&json!("invalid_params"), &json!(field)), "{url}: {error}");
        assert!(error["message"].as_str().unwrap().contains(word), "{url}: {error}");
    }
    assert_eq!(status(&daemon)["url"], Value::Null);
}
