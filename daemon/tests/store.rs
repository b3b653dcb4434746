//! What outlives the daemon, however it ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

#[test]
fn flows_start_from_the_store_before_anybody_calls() {
    let (target, sink, port) = (echo(), Sink::start(), Nobody::new());
    let mut daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]).with("/listen", port.address);
    daemon.mirror("panel", &spec);
    daemon
        .call("flow.apply", json!({"id": "off", "owner": "test", "kind": "mirror", "spec": spec, "enabled": false}))
        .unwrap();
    daemon.mirror("gone", &mirror(target.address, &[sink.address()]));
    daemon.call("flow.remove", json!({"id": "gone"})).unwrap();
    let token = daemon.token.clone();
    for kill in [false, true] {
        if kill {
            daemon.kill();
        } else {
            assert!(daemon.stop().success());
        }
        daemon.start_again_without_waiting();
        until("the flow listens", || try_connect(port.address).is_ok().then_some(()));
        assert_eq!(exchange(port.address, b"nobody has called yet").0, b"nobody has called yet");
        daemon.answers();
        assert_eq!(daemon.token, token);
        let list = daemon.call("flow.list", json!({})).unwrap();
        let ids: Vec<_> = list.as_array().unwrap().iter().map(|flow| flow["id"].clone()).collect();
        assert_eq!(ids, ["off", "panel"]);
        assert_eq!((&list[0]["enabled"], &list[0]["state"]), (&json!(false), &json!("disabled")));
        assert_eq!((&list[1]["spec"], &list[1]["owner"]), (&spec, &json!("test")));
    }
}

/// Kills the daemon in the middle of its work, again and again. `DOMOFLUX_KILLS` says how often.
#[test]
fn a_killed_daemon_comes_back_at_once_with_everything_that_it_has_acknowledged() {
    const FLOWS: usize = 20;
    let rounds: usize = std::env::var("DOMOFLUX_KILLS").map_or(10, |n| n.parse().unwrap());
    let (target, sink) = (echo(), Sink::start());
    let ports: Vec<_> = (0..FLOWS).map(|_| Nobody::new()).collect();
    let spec = |i: usize, edit: u64| mirror(target.address, &[sink.address()]).with("/listen", ports[i].address).with("/idle_timeout", 1000 + edit);
    let apply = |i: usize, edit: u64| json!({"id": format!("flow-{i}"), "owner": "test", "kind": "mirror", "spec": spec(i, edit)});
    let mut daemon = Daemon::start();
    for i in 0..FLOWS {
        daemon.call("flow.apply", apply(i, 0)).unwrap();
    }
    let acknowledged: Vec<_> = (0..FLOWS).map(|_| AtomicU64::new(0)).collect();
    let tried: Vec<_> = (0..FLOWS).map(|_| AtomicU64::new(0)).collect();
    let mut numbers = Lcg::new(9);
    for round in 0..rounds {
        let enough = 5 + numbers.below(30);
        let (killed, edits, pumped) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for start in 0..2 {
                let (daemon, killed, edits, apply, acknowledged, tried) = (&daemon, &killed, &edits, &apply, &acknowledged, &tried);
                scope.spawn(move || {
                    for i in (start..FLOWS).step_by(2).cycle() {
                        let edit = tried[i].load(Ordering::SeqCst) + 1;
                        tried[i].store(edit, Ordering::SeqCst);
                        match daemon.try_call("flow.apply", &apply(i, edit)) {
                            Some(answer) => assert_eq!(answer.unwrap()["applied"], "changed"),
                            None => return assert!(killed.load(Ordering::SeqCst), "the daemon did not answer"),
                        }
                        acknowledged[i].store(edit, Ordering::SeqCst);
                        edits.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            for port in ports.iter().take(2) {
                let (pumped, killed) = (&pumped, &killed);
                scope.spawn(move || {
                    let mut client = connect(port.address);
                    let data = pattern(50_000, 1);
                    let mut answer = vec![0; data.len()];
                    while std::io::Write::write_all(&mut client, &data).is_ok() && std::io::Read::read_exact(&mut client, &mut answer).is_ok() {
                        assert!(answer == data);
                        pumped.fetch_add(1, Ordering::SeqCst);
                    }
                    assert!(killed.load(Ordering::SeqCst), "the stream ended before the daemon did");
                });
            }
            until("edits are acknowledged and bytes flow", || {
                (edits.load(Ordering::SeqCst) as usize >= enough && pumped.load(Ordering::SeqCst) > 3).then_some(())
            });
            killed.store(true, Ordering::SeqCst);
            daemon.process.signal(rustix::process::Signal::KILL);
        });
        daemon.process.exit();
        let started = Instant::now();
        daemon.start_again_without_waiting();
        for port in &ports {
            until("a flow listens", || try_connect(port.address).is_ok().then_some(()));
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(1), "round {round}: all flows listen only after {took:?}");
        daemon.answers();
        for i in 0..FLOWS {
            let stored = daemon.status(&format!("flow-{i}"))["spec"]["idle_timeout"].as_u64().unwrap() - 1000;
            let (known, last) = (acknowledged[i].load(Ordering::SeqCst), tried[i].load(Ordering::SeqCst));
            assert!((known..=last).contains(&stored), "round {round}: flow {i} has edit {stored}, {known} was acknowledged");
        }
        assert_eq!(exchange(ports[0].address, b"on it goes").0, b"on it goes");
        assert_eq!(daemon.call("daemon.hello", json!({"client": "tests", "api": 1})).unwrap()["degraded"], json!([]));
    }
}

#[test]
fn a_damaged_file_is_set_aside_and_said_and_the_daemon_serves() {
    let (target, sink, port) = (echo(), Sink::start(), Nobody::new());
    let mut daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]).with("/listen", port.address);
    daemon.mirror("panel", &spec);
    assert!(daemon.stop().success());
    let garbage = pattern(50_000, 1);
    std::fs::write(daemon.file("domoflux.db"), &garbage).unwrap();
    without_journal(&daemon);
    daemon.start_again();
    let hello = daemon.call("daemon.hello", json!({"client": "tests", "api": 1})).unwrap();
    let said = hello["degraded"][0].as_str().unwrap();
    assert!(said.contains("domoflux.db was damaged"), "{said}");
    assert!(daemon.process.stderr().contains(said), "it is not in the log");
    let aside = std::fs::read_dir(daemon.state_dir())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_str().unwrap().contains("damaged-"))
        .unwrap();
    assert!(said.contains(aside.to_str().unwrap()), "{said}");
    assert_eq!(std::fs::read(aside).unwrap(), garbage);
    assert_eq!(daemon.call("flow.list", json!({})).unwrap(), json!([]));
    daemon.mirror("panel", &spec);
    assert_eq!(exchange(port.address, b"served").0, b"served");
    daemon.kill();
    daemon.start_again();
    assert_eq!(exchange(daemon.listening("panel"), b"stored again").0, b"stored again");
    assert_eq!(daemon.call("daemon.hello", json!({"client": "tests", "api": 1})).unwrap()["degraded"], json!([]));
}

#[test]
fn a_file_that_was_cut_or_overwritten_anywhere_never_keeps_the_daemon_from_starting() {
    let (target, sink) = (echo(), Sink::start());
    let mut daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    for i in 0..50 {
        daemon.mirror(&format!("flow-{i}"), &spec);
    }
    assert!(daemon.stop().success());
    rusqlite::Connection::open(daemon.file("domoflux.db"))
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let good = std::fs::read(daemon.file("domoflux.db")).unwrap();
    assert!(good.len() > 8000, "there is too little to damage");
    let mut numbers = Lcg::new(4);
    for case in 0..8 {
        let mut damaged = good.clone();
        let at = numbers.below(damaged.len() - 600);
        if case % 2 == 0 {
            damaged.truncate(at);
        } else {
            damaged[at..at + 600].copy_from_slice(&pattern(600, case));
        }
        std::fs::write(daemon.file("domoflux.db"), damaged).unwrap();
        daemon.start_again();
        let at = daemon.mirror("new", &spec);
        assert_eq!(exchange(at, b"alive").0, b"alive", "case {case}, damaged at {at}");
        daemon.kill();
        without_journal(&daemon);
    }
}

/// Takes away what `SQLite` would mend the file with.
fn without_journal(daemon: &Daemon) {
    for name in ["domoflux.db-wal", "domoflux.db-shm"] {
        let _ = std::fs::remove_file(daemon.file(name));
    }
}

#[test]
fn after_a_stop_the_file_alone_has_everything() {
    let (target, sink) = (echo(), Sink::start());
    let mut daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    for edit in 1..=8 {
        daemon.mirror("panel", &spec.clone().with("/idle_timeout", edit));
        assert!(daemon.stop().success());
        // Who makes a copy of the state while the daemon is stopped copies this file.
        without_journal(&daemon);
        daemon.start_again();
        let list = daemon.call("flow.list", json!({})).unwrap();
        assert_eq!(list[0]["spec"]["idle_timeout"], edit, "{list}");
    }
}

#[test]
fn two_daemons_do_not_share_a_state() {
    let daemon = Daemon::start();
    let (code, _, said) = run(domoflux(["daemon", "--listen", "127.0.0.1:0", "--state-dir", daemon.state_dir().to_str().unwrap()]));
    assert_eq!(code, 1);
    assert!(said.contains("another daemon uses") && said.contains(daemon.state_dir().to_str().unwrap()), "{said}");
    let endpoint: Value = serde_json::from_str(&std::fs::read_to_string(daemon.file("endpoint.json")).unwrap()).unwrap();
    assert_eq!(endpoint["pid"], daemon.process.pid());
    daemon.call("flow.list", json!({})).unwrap();
}

#[test]
fn a_kill_loses_no_more_counts_than_those_since_the_last_save() {
    let (target, sink, port) = (echo(), Sink::start(), Nobody::new());
    let mut daemon = Daemon::start();
    daemon.mirror("panel", &mirror(target.address, &[sink.address()]).with("/listen", port.address));
    for _ in 0..3 {
        exchange(port.address, b"x");
    }
    daemon.counts("panel", "activeConnections", 0);
    assert!(daemon.stop().success());
    daemon.start_again();
    exchange(daemon.listening("panel"), b"x");
    assert_eq!(daemon.counter("panel", "clientConnections"), 4);
    daemon.kill();
    daemon.start_again();
    let counted = daemon.counter("panel", "clientConnections");
    assert!((3..=4).contains(&counted), "{counted}");
}

#[test]
fn the_flows_of_a_file_are_what_the_file_says() {
    let (target, sink, port) = (echo(), Sink::start(), Nobody::new());
    let flow = |id: &str, listen: &str| {
        format!(
            "[flow.{id}]\nkind = \"mirror\"\nlisten = \"{listen}\"\ntarget = \"{}\"\nmirrors = [{{ address = \"{}\" }}]\n",
            target.address,
            sink.address()
        )
    };
    let both = flow("panel", &port.address.to_string()) + &flow("other", "127.0.0.1:0");
    let mut daemon = Daemon::prepare().config(&both).start();
    daemon.mirror("pushed", &mirror(target.address, &[sink.address()]));
    assert_eq!(exchange(port.address, b"from the file").0, b"from the file");
    let ids = |daemon: &Daemon, owner: &str| {
        let list = daemon.call("flow.list", json!({"owner": owner})).unwrap();
        list.as_array().unwrap().iter().map(|flow| flow["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&daemon, "file"), ["other", "panel"]);
    assert!(daemon.stop().success());
    std::fs::write(daemon.file("config.toml"), flow("panel", &port.address.to_string())).unwrap();
    daemon.start_again();
    assert_eq!(ids(&daemon, "file"), ["panel"]);
    assert_eq!(ids(&daemon, "test"), ["pushed"]);
    assert_eq!(daemon.counter("panel", "clientConnections"), 1);
}

#[test]
fn an_api_port_that_is_taken_keeps_no_flow_from_running() {
    let (target, sink, port) = (echo(), Sink::start(), Nobody::new());
    let mut daemon = Daemon::start();
    daemon.mirror("panel", &mirror(target.address, &[sink.address()]).with("/listen", port.address));
    assert!(daemon.stop().success());
    let taken = Server::start(echo_one);
    let (state, address) = (daemon.state_dir().to_str().unwrap().to_owned(), taken.address.to_string());
    let mut second = Process::start(domoflux(["daemon", "--listen", &address, "--state-dir", &state]));
    second.says("cannot listen on");
    until("the flow listens", || try_connect(port.address).is_ok().then_some(()));
    assert_eq!(exchange(port.address, b"nevertheless").0, b"nevertheless");
    assert!(!daemon.file("endpoint.json").exists());
    drop(taken);
    until("the API listens once its port is free", || daemon.file("endpoint.json").exists().then_some(()));
    second.signal(rustix::process::Signal::TERM);
    assert!(second.exit().success());
}

/// How often something was committed since the write-ahead log was begun: frames that say how large the database is then.
fn commits(daemon: &Daemon) -> usize {
    let log = std::fs::read(daemon.file("domoflux.db-wal")).unwrap();
    log[32..].chunks_exact(24 + 4096).filter(|frame| frame[4..8] != [0; 4]).count()
}

#[test]
fn two_hundred_flows_are_one_call_and_a_few_commits() {
    let (target, mut daemon) = (echo(), Daemon::start());
    let flows: Vec<_> = (0..200)
        .map(|i| json!({"id": format!("f{i}"), "kind": "mirror", "spec": mirror(target.address, &[target.address])}))
        .collect();
    let before = commits(&daemon);
    let started = Instant::now();
    let synced = daemon.call("flow.sync", json!({"owner": "jeedom", "flows": flows})).unwrap();
    assert_eq!(synced["created"].as_array().unwrap().len(), 200, "{synced}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let written = commits(&daemon) - before;
    assert!(written < 60, "{written} commits");
    let synced = daemon.call("flow.sync", json!({"owner": "jeedom", "flows": flows})).unwrap();
    assert_eq!((synced["unchanged"].as_array().unwrap().len(), commits(&daemon) - before), (200, written));
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.call("flow.list", json!({"owner": "jeedom"})).unwrap().as_array().unwrap().len(), 200);
}

#[test]
fn counters_of_a_backup_are_saved_when_they_are_set() {
    let (target, mut daemon) = (echo(), Daemon::start());
    let at = daemon.mirror("panel", &mirror(target.address, &[target.address]));
    exchange(at, b"0123456789");
    daemon.counts("panel", "activeConnections", 0);
    let set = |daemon: &Daemon, counters: Value| daemon.call("flow.set_counters", json!({"id": "panel", "counters": counters}));
    assert_eq!(
        set(
            &daemon,
            json!({"clientRxBytes": 5_000_000_000_u64, "clientConnections": 7, "activeConnections": 9, "spooledBytes": 1})
        )
        .unwrap(),
        json!({"ok": true})
    );
    for kill in [false, true] {
        if kill {
            daemon.kill();
            daemon.start_again();
        }
        let counters = daemon.counters("panel");
        assert_eq!((&counters["clientRxBytes"], &counters["clientConnections"]), (&json!(5_000_000_000_u64), &json!(7)));
        assert_eq!((&counters["activeConnections"], &counters["spooledBytes"]), (&json!(0), &json!(0)), "they say what is now");
        assert_eq!(counters["clientTxBytes"], 10, "what is not named stays");
    }
    let error = set(&daemon, json!({"clientConnections": 1, "a/b": 1})).unwrap_err();
    assert_eq!(
        (&error["data"]["kind"], &error["data"]["field"]),
        (&json!("invalid_params"), &json!("/counters/a~1b")),
        "{error}"
    );
    assert_eq!(daemon.counter("panel", "clientConnections"), 7, "nothing was set");
    assert_eq!(set(&daemon, json!({"clientConnections": -1})).unwrap_err()["data"]["field"], "/counters/clientConnections");
    let error = daemon.call("flow.set_counters", json!({"id": "gone", "counters": {}})).unwrap_err();
    assert_eq!(error["data"]["kind"], "unknown_flow");
}
