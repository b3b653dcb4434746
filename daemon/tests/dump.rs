//! `domoflux dump`: what a bug report has, and what it must not have.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::*;

#[test]
fn it_has_what_is_needed_and_nothing_that_is_secret() {
    let (sink, nobody) = (Sink::start(), Nobody::new());
    let mut daemon = Daemon::start();
    let spec = mirror(nobody.address, &[sink.address()]).with("/mirrors/0/address", "copy.home.example:10002");
    daemon.mirror("panel", &spec.clone().with("/allow", json!(["203.0.113.9", "127.0.0.0/8"])));
    daemon.mirror("other", &spec.with("/target", "receiver.example:10001"));
    let _ = connect(daemon.listening("panel")).receive_all();
    daemon.process.says(&format!("cannot connect to {}", nobody.address));
    let (code, text, said) = daemon.cli(&["dump"]);
    assert_eq!(code, 0, "{said}");
    let dump: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&dump["daemon"]["answers"], &dump["daemon"]["pid"]), (&json!(true), &json!(daemon.process.pid())));
    assert!(dump["daemon"]["process"]["limits"][0].is_string() && dump["machine"]["kernel"].is_string(), "{dump:#}");
    assert!(dump["daemon"]["queues"]["queue_limit_bytes"].is_string(), "{dump:#}");
    assert!(dump["state"]["store_bytes"].as_u64().unwrap() > 0, "{dump:#}");
    let panel = &dump["flows"][1];
    assert_eq!((&panel["id"], &panel["counters"]["clientConnections"]), (&json!("panel"), &json!(1)));
    let log = dump["daemon"]["log"].as_array().unwrap();
    assert!(
        log.iter().any(|line| line.as_str().unwrap().contains(&format!("cannot connect to {}", nobody.address))),
        "{log:?}"
    );
    // Addresses: the public ones have other names, the same wherever they are.
    for public in ["203.0.113.9", "receiver.example", "copy.home.example"] {
        assert!(!text.contains(public), "{public}: {text}");
    }
    assert_eq!(panel["spec"]["allow"], json!(["ip-1", "127.0.0.0/8"]));
    assert_eq!(panel["spec"]["mirrors"], dump["flows"][0]["spec"]["mirrors"]);
    assert!(!text.contains(&daemon.token), "the token is in it");
    let (_, text, _) = daemon.cli(&["dump", "--no-redact-addresses"]);
    assert!(
        text.contains("203.0.113.9") && text.contains("receiver.example:10001") && !text.contains(&daemon.token),
        "{text}"
    );

    let file = daemon.file("dump.json");
    std::fs::write(&file, "an older one, that all may read").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, out, _) = daemon.cli(&["dump", "--output", file.to_str().unwrap()]);
    assert_eq!((code, out.contains("read it before you send it")), (0, true));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    serde_json::from_str::<Value>(&std::fs::read_to_string(&file).unwrap()).unwrap();

    // The token of the environment goes as well, wherever it is.
    daemon.stop();
    let mut command = domoflux(["dump", "--state-dir"]);
    command.arg(daemon.state_dir()).env("DOMOFLUX_TOKEN", "receiver.example:10001");
    let (_, text, _) = run(command);
    assert!(text.contains("[redacted]") && !text.contains("receiver"), "{text}");
}

#[test]
fn it_works_without_a_daemon_and_hides_what_a_newer_one_has_stored() {
    let (target, sink) = (echo(), Sink::start());
    let mut daemon = Daemon::start();
    daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    daemon.stop();
    let spec = r#"{"broker": "broker.example", "password": "hunter22", "log": "as hunter22 at mqtt://me:passw0rd@broker.example/"}"#;
    let store = rusqlite::Connection::open(daemon.file("domoflux.db")).unwrap();
    store.execute("INSERT INTO flow VALUES ('sync', 'jeedom', 'mqtt-sync', ?1, 1)", [spec]).unwrap();
    store.close().unwrap();
    std::fs::create_dir_all(daemon.file("flows/panel.d")).unwrap();
    std::fs::write(daemon.file("flows/panel.d/kept"), "1234567").unwrap();
    let (code, text, said) = daemon.cli(&["dump"]);
    assert_eq!(code, 0, "{said}");
    for secret in ["hunter22", "passw0rd", "broker.example", &daemon.token] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let dump: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&dump["daemon"]["answers"], dump["flows"].as_array().map(Vec::len)), (&json!(false), Some(2)));
    assert_eq!(dump["flows"][1]["spec"]["log"], "as [redacted] at mqtt://[redacted]@host-1/");
    assert!(dump["daemon"]["why"].as_str().unwrap().contains("no daemon runs"), "{dump:#}");
    assert!(
        dump["state"]["files"].as_array().unwrap().iter().any(|f| f["name"] == "token" && f["mode"] == "600"),
        "{dump:#}"
    );
    assert!(
        dump["state"]["files"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["name"] == "flows/panel.d/kept" && f["bytes"] == 7),
        "{dump:#}"
    );
    // Nor does it need anything at all.
    let empty = tempfile::tempdir().unwrap();
    let mut command = domoflux(["dump", "--state-dir"]);
    command.arg(empty.path());
    let (code, text, _) = run(command);
    assert_eq!((code, serde_json::from_str::<Value>(&text).unwrap()["flows"].clone()), (0, json!([])));
}

#[test]
fn the_spools_do_not_tell_where_the_mirrors_are() {
    let (nobody, mut daemon) = (Nobody::new(), Daemon::start());
    let mirrors = ["secret-host.invalid:9", "203.0.113.77:9", "[2001:db8:1:2::77]:9", "203.0.113.77:9"];
    let mirrors = mirrors.map(|address| json!({"address": address, "spool": {}}));
    // A log line with the path: nothing can be kept there.
    std::fs::create_dir_all(daemon.file("flows/panel.d/spool")).unwrap();
    std::fs::write(daemon.file("flows/panel.d/spool/secret-host.invalid_9"), "no directory").unwrap();
    // And another: an old mirror's.
    std::fs::create_dir(daemon.file("flows/panel.d/spool/old-host.invalid_9")).unwrap();
    for record in ["1", "2"] {
        std::fs::write(daemon.file(&format!("flows/panel.d/spool/old-host.invalid_9/000000000000000{record}.rec")), "12345").unwrap();
    }
    daemon.mirror("panel", &mirror(nobody.address, &[]).with("/mirrors", json!(mirrors)));
    daemon.process.says("spool/secret-host.invalid_9: ");
    daemon.process.says("spool/old-host.invalid_9 are not played back");
    let dump = |daemon: &Daemon| {
        let (code, text, said) = daemon.cli(&["dump"]);
        assert_eq!(code, 0, "{said}");
        for secret in ["secret-host", "203.0.113.77", "2001_db8", "2001:db8", "old-host", "000000000000000"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let running = dump(&daemon);
    // A spool is called like the address of its mirror.
    let address = |i: usize| running["flows"][0]["spec"]["mirrors"][i]["address"].as_str().unwrap().replace(':', "_");
    let log = running["daemon"]["log"].to_string();
    assert!(log.contains(&format!("panel.d/spool/{}: ", address(0))), "{log}");
    for spool in [address(1), address(2), format!("{}+1", address(1))] {
        let name = format!("flows/panel.d/spool/{spool}");
        let files = running["state"]["files"].as_array().unwrap();
        assert!(files.contains(&json!({"name": name, "records": 0, "bytes": 0})), "{name}: {files:#?}");
    }
    daemon.stop();
    let stopped = dump(&daemon);
    let files = stopped["state"]["files"].as_array().unwrap();
    assert!(files.iter().any(|file| file["records"] == 2 && file["bytes"] == 10), "{files:#?}");
}
