//! The command line, as a person uses it.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::*;

fn cli(args: &[&str]) -> (i32, String, String) {
    run(domoflux(args))
}

fn flow_file(dir: &std::path::Path, text: &str) -> String {
    let file = dir.join("flows.toml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    for args in [
        &[][..],
        &["fly"],
        &["daemon", "--colour"],
        &["mirror"],
        &["mirror", "-l", "x", "-t", "a:1", "-m", "b:1"],
        &["probe", "tcp"],
        &["flow", "show"],
        &["call"],
        &["schema", "nothing"],
        &["daemon", "--buffer-total", "lots"],
    ] {
        let (code, out, said) = cli(args);
        assert_eq!((code, out.as_str()), (64, ""), "{args:?}");
        assert!(!said.is_empty(), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["daemon", "--help"], &["help", "flow"]] {
        let (code, out, said) = cli(args);
        assert_eq!((code, said.as_str()), (0, ""), "{args:?}");
        assert!(out.contains("domoflux"), "{args:?}: {out}");
    }
    assert_eq!(cli(&["--version"]).1.trim(), format!("domoflux {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn check_says_everything_that_is_wrong_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let good = flow_file(
        dir.path(),
        "[flow.panel]\nkind = \"mirror\"\nlisten = \"127.0.0.1:10001\"\ntarget = \"receiver.example:10001\"\nmirrors = [{ address = \"127.0.0.1:10002\" }]\n",
    );
    assert_eq!(cli(&["check", &good]), (0, format!("{good}: good, 1 flow\n"), String::new()));
    let bad = flow_file(
        dir.path(),
        "[daemon]\nbuffer_total = \"lots\"\n\n[flow.panel]\nkind = \"mirror\"\nlisten = \"10001\"\ntarget = \"receiver.example:10001\"\nmirrors = [{ address = \"127.0.0.1:10002\", when_full = \"explode\" }]\n\n[flow.other]\nkind = \"mirrr\"\n",
    );
    let (code, out, said) = cli(&["check", &bad]);
    assert_eq!((code, out.as_str()), (78, ""));
    let places: Vec<_> = said
        .lines()
        .map(|line| line.trim_start_matches("domoflux: ").split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let at = |place: &str| format!("{bad}:{place}");
    assert_eq!(
        places,
        [at("2:16 daemon.buffer_total"), at("6:10 flow.panel.listen"), at("8:55 flow.panel.mirrors.0.when_full"), at("11:8 flow.other.kind"),],
        "{said}"
    );
    let (code, _, said_again) = cli(&["daemon", "--config", &bad, "--state-dir", dir.path().to_str().unwrap()]);
    assert_eq!((code, said_again), (78, said));
    let list = "[flow.panel]\nkind = \"mirror\"\nlisten = \"127.0.0.1:1\"\ntarget = [\"a:1\", \"b\", \"a:1\",\n  \"127.0.0.1:1\"]\nmirrors = [{ address = \"m:1\" }]\n";
    let (_, _, said_of_list) = cli(&["check", &flow_file(dir.path(), list)]);
    for place in ["4:18 flow.panel.target.1", "4:23 flow.panel.target.2", "5:3 flow.panel.target.3"] {
        assert!(said_of_list.replace(": flow", " flow").contains(place), "{place}: {said_of_list}");
    }
    flow_file(dir.path(), "");
    let (code, _, said) = cli(&["check", "/no/such/file.toml"]);
    assert_eq!(code, 78);
    assert!(said.contains("/no/such/file.toml") && said.contains("no such file"), "{said}");
    let broken = flow_file(dir.path(), "[flow.panel\n");
    let (code, _, said) = cli(&["check", &broken]);
    assert_eq!(code, 78);
    assert!(said.contains(&format!("{broken}:1:")), "{said}");
}

#[test]
fn probe_tells_whether_somebody_answers() {
    let (somebody, nobody, swallows) = (echo(), Nobody::new(), Narrow::filled());
    let (code, out, _) = cli(&["probe", "tcp", &somebody.address.to_string()]);
    assert_eq!(code, 0);
    assert!(out.contains("answers after"), "{out}");
    let (code, _, said) = cli(&["probe", "tcp", &nobody.address.to_string()]);
    assert_eq!(code, 69);
    assert!(said.contains("connection refused") && said.contains(&nobody.address.to_string()), "{said}");
    let (code, _, said) = cli(&["probe", "tcp", &swallows.address.to_string(), "--timeout", "200ms"]);
    assert_eq!(code, 69);
    assert!(said.contains("no answer within 0.2 s"), "{said}");
}

#[test]
fn probe_tells_whether_flows_serve() {
    let (target, sink, down) = (echo(), Sink::start(), Nobody::new());
    let mut daemon = Daemon::start();
    let state = daemon.state_dir().to_str().unwrap().to_owned();
    let probe = |args: &[&str]| cli(&[&["probe", "flow", "--state-dir", &state], args].concat());
    let says = |args: &[&str], code: u8, text: &str| {
        let (exit, out, said) = probe(args);
        assert!(exit == i32::from(code) && (out + &said).contains(text), "{args:?}: {exit}, {said}");
    };
    says(&[], 69, "no flow is enabled");
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    says(&[], 0, &format!("panel serves on {at}"));
    says(&["panel", "--target"], 0, "panel serves");
    says(&["pannel"], 69, "no such flow");
    let lost = daemon.mirror("lost", &mirror(down.address, &[sink.address()]));
    is_turned_away(lost);
    daemon.counts("lost", "targetErrConnect", 1);
    says(&["lost", "panel"], 0, "lost serves");
    says(&["--target"], 69, "no target answers");
    daemon.apply("late", &mirror(target.address, &[sink.address()]).with("/listen", at)).unwrap_err();
    says(&["panel"], 0, "panel serves");
    says(&["late"], 69, "late does not serve, it is backoff: cannot listen on");
    assert_eq!(sink.count(), 0, "a probe is no client");
    // A daemon that hangs is as good as none.
    daemon.process.signal(Signal::STOP);
    let started = std::time::Instant::now();
    says(&["panel", "--timeout", "300ms"], 69, "does not answer within 300 ms");
    assert!(started.elapsed() < SOON);
    daemon.process.signal(Signal::CONT);
    says(&["panel"], 0, "panel serves");
    daemon.stop();
    says(&["panel"], 69, "no daemon runs");
}

#[test]
fn a_mirror_in_the_foreground_takes_several_targets_and_the_proxy_protocol() {
    let (down, target, sink) = (Nobody::new(), Sink::start(), Sink::start());
    let (first, second, copy) = (down.address.to_string(), target.address().to_string(), sink.address().to_string());
    let mut args = vec!["mirror", "-l", "127.0.0.1:0", "-t", &first, "-t", &second, "-m", &copy];
    args.extend(["--proxy-protocol", "v1", "--trusted-proxy", "127.0.0.1", "--trusted-proxy", "::1"]);
    let mut process = Process::start(domoflux(&args));
    let said = process.says("listening on 127.0.0.1:");
    let at = said.split("listening on ").nth(1).unwrap().split([',', '\n']).next().unwrap().parse().unwrap();
    let mut client = connect(at);
    client.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 3 4\r\nalarm");
    client.finish();
    assert_eq!(target.one().bytes, b"PROXY TCP4 192.0.2.1 192.0.2.2 3 4\r\nalarm");
    for (wrong, option) in [(["-t", &first], "--target"), (["--trusted-proxy", "x"], "--trusted-proxy"), (["--allow", "x"], "--allow")] {
        let (code, _, said) = cli(&[args.as_slice(), &wrong].concat());
        assert!(code == 78 && said.contains(&format!("{option}: ")), "{code}: {said}");
    }
}

#[test]
fn a_mirror_in_the_foreground_mirrors_and_ctrl_c_drains_it() {
    let (target, sink) = (echo(), Sink::start());
    let (to, copy) = (target.address.to_string(), sink.address().to_string());
    let mut process = Process::start(domoflux(["mirror", "-l", "127.0.0.1:0", "-t", &to, "-m", &copy, "--from-target"]));
    let said = process.says("listening on 127.0.0.1:");
    let at = said.split("listening on ").nth(1).unwrap().split([',', '\n']).next().unwrap().parse().unwrap();
    assert_eq!(exchange(at, b"one").0, b"one");
    assert_eq!(sink.one().bytes, b"oneone");
    let mut running = connect(at);
    assert_eq!(running.ask(b"two"), b"two");
    process.signal(Signal::INT);
    process.says("stopping");
    until("it accepts no more", || try_connect(at).is_err().then_some(()));
    assert_eq!(running.ask(b"three"), b"three");
    assert!(process.has_exited().is_none(), "it did not wait for the client");
    running.finish();
    assert_eq!(running.receive_all(), (Vec::new(), End::Fin));
    assert!(process.exit().success());
    assert!(
        process.stderr().contains("clients 0 of 2") && process.stderr().contains("0 connections cut"),
        "{}",
        process.stderr()
    );
    assert_eq!(sink.ended(2)[1].bytes, b"twotwothreethree");
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    let (target, sink) = (echo(), Sink::start());
    let (to, copy) = (target.address.to_string(), sink.address().to_string());
    let mut process = Process::start(domoflux(["mirror", "-l", "127.0.0.1:0", "-t", &to, "-m", &copy, "--drain-timeout", "1h"]));
    let said = process.says("listening on 127.0.0.1:");
    let mut running = connect(said.split("listening on ").nth(1).unwrap().split([',', '\n']).next().unwrap().parse().unwrap());
    assert_eq!(running.ask(b"one"), b"one");
    process.signal(Signal::INT);
    process.says("stopping");
    process.signal(Signal::INT);
    assert!(process.exit().success());
    assert_eq!(running.receive_all(), (Vec::new(), End::Reset));
}

#[test]
fn a_mirror_that_cannot_be_says_which_option_is_wrong() {
    let taken = echo();
    let (code, _, said) = cli(&["mirror", "-l", &taken.address.to_string(), "-t", "127.0.0.1:1", "-m", "127.0.0.1:2"]);
    assert_eq!(code, 1);
    assert!(said.contains(&format!("cannot listen on {}", taken.address)), "{said}");
    let (code, _, said) = cli(&["mirror", "-l", "127.0.0.1:10001", "-t", "127.0.0.1:10001", "-m", "127.0.0.1:2", "--allow", "home", "--buffer", "7"]);
    assert_eq!(code, 78);
    for option in ["--target", "--allow", "--buffer"] {
        assert!(said.contains(&format!("{option}: ")), "{option} in {said}");
    }
}

#[test]
fn the_demonstration_works() {
    let (code, out, said) = cli(&["demo"]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(out.contains("\"THE ALARM PANEL REPORTS\"") && out.contains("the stream does not care"), "{out}");
}

#[test]
fn flows_are_looked_at_and_changed() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    assert_eq!(daemon.cli(&["flow", "list"]), (0, "no flows\n".to_owned(), String::new()));
    let flow = |id: &str, target: &str| {
        format!(
            "[flow.{id}]\nkind = \"mirror\"\nlisten = \"127.0.0.1:0\"\ntarget = \"{target}\"\nmirrors = [{{ address = \"{}\" }}]\n",
            sink.address()
        )
    };
    let file = flow_file(
        daemon.state_dir(),
        &(flow("panel", &target.address.to_string()) + &flow("meter", &target.address.to_string())),
    );
    assert_eq!(daemon.cli(&["flow", "apply", &file]), (0, "panel: created\nmeter: created\n".to_owned(), String::new()));
    assert_eq!(daemon.cli(&["flow", "apply", &file]).1, "panel: unchanged\nmeter: unchanged\n");
    let at = daemon.listening("panel");
    assert_eq!(exchange(at, b"12345").0, b"12345");
    daemon.counts("panel", "activeConnections", 0);
    let (_, list, _) = daemon.cli(&["flow", "list"]);
    let row: Vec<_> = list.lines().find(|line| line.starts_with("panel")).unwrap().split_whitespace().collect();
    assert_eq!(row, ["panel", "mirror", "cli", "serving", &at.to_string(), "0", "1", "-"]);
    let (code, shown, _) = daemon.cli(&["flow", "show", "panel"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &shown["counters"]["clientRxBytes"], &shown["isListening"]), (0, &5.into(), &true.into()));
    assert_eq!(daemon.cli(&["flow", "reset", "panel"]).0, 0);
    assert_eq!(daemon.counter("panel", "clientRxBytes"), 0);
    let mut running = connect(at);
    assert_eq!(running.ask(b"one"), b"one");
    assert_eq!(daemon.cli(&["flow", "restart", "panel"]), (0, "panel: restarted\n".to_owned(), String::new()));
    assert_eq!(running.receive_all().0, b"");
    assert_eq!(daemon.cli(&["flow", "remove", "panel"]), (0, "panel: removed\n".to_owned(), String::new()));
    let (code, _, said) = daemon.cli(&["flow", "remove", "panel"]);
    assert_eq!(code, 1);
    assert!(said.contains("there is no flow \"panel\""), "{said}");
    let bad = flow_file(daemon.state_dir(), &flow("panel", "nowhere"));
    let (code, _, said) = daemon.cli(&["flow", "apply", &bad]);
    assert_eq!(code, 78);
    assert!(said.contains(&format!("{bad}:4:10: flow.panel.target")), "{said}");
    let taken = flow_file(
        daemon.state_dir(),
        &flow("late", &target.address.to_string())
            .replace("127.0.0.1:0\"", &format!("{}\"", sink.address()))
            .replace("mirrors = [{ address = \"", "mirrors = [{ from_target = true, address = \"127.0.0.1:9\" }] #"),
    );
    let (code, _, said) = daemon.cli(&["flow", "apply", &taken]);
    assert_eq!(code, 1);
    assert!(said.contains("late: cannot listen on"), "{said}");
}

#[test]
fn which_daemon_is_meant_can_be_said_last() {
    let daemon = Daemon::start();
    let (code, out, said) = cli(&["flow", "list", "--state-dir", daemon.state_dir().to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (0, "no flows\n"), "{said}");
}

#[test]
fn the_status_is_for_people_and_for_programs() {
    let (target, sink) = (echo(), Sink::start());
    let mut daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let (code, out, _) = daemon.cli(&["status"]);
    assert_eq!(code, 0);
    assert!(out.contains(&format!("pid {}", daemon.process.pid())) && out.contains(&at.to_string()), "{out}");
    let (code, out, _) = daemon.cli(&["status", "--json"]);
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &status["flows"][0]["id"], &status["daemon"]["pid"]),
        (0, &"panel".into(), &daemon.process.pid().into())
    );
    assert_eq!(status["counters"]["panel"]["clientConnections"], 0);
    let (code, out, _) = daemon.cli(&["log", "-n", "1000"]);
    assert_eq!(code, 0);
    assert!(out.contains("the API listens on"), "{out}");
    assert_eq!(daemon.cli(&["log", "--flow", "nobody"]), (0, String::new(), String::new()));
    daemon.kill();
    // endpoint.json is still there, and nobody listens where it says.
    let (code, _, said) = daemon.cli(&["status"]);
    assert_eq!(code, 69);
    assert!(said.contains("does not answer"), "{said}");
    let empty = tempfile::tempdir().unwrap();
    let (code, _, said) = cli(&["status", "--state-dir", empty.path().to_str().unwrap()]);
    assert_eq!(code, 69);
    assert!(said.contains("no daemon runs") && said.contains("domoflux daemon"), "{said}");
}

#[test]
fn any_method_can_be_called() {
    let daemon = Daemon::start();
    let (code, out, _) = daemon.cli(&["call", "flow.check", r#"{"kind": "mirror", "spec": {}}"#]);
    assert_eq!((code, &serde_json::from_str::<Value>(&out).unwrap()["ok"]), (0, &false.into()));
    assert_eq!(daemon.cli(&["call", "flow.list"]).1, "[]\n");
    let (code, _, said) = daemon.cli(&["call", "flow.status", r#"{"id": "nobody"}"#]);
    assert_eq!(code, 1);
    assert!(said.contains("there is no flow") && said.contains("unknown_flow"), "{said}");
    assert_eq!(daemon.cli(&["call", "flow.status", "nobody"]).0, 64);
}

#[test]
fn documents_are_printed() {
    let (code, out, _) = cli(&["kinds"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("mirror: ") && out.contains("connect_timeout, default 5") && out.contains("clientConnections"),
        "{out}"
    );
    let (_, out, _) = cli(&["kinds", "--json", "--language", "fr"]);
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap().pointer("/0/schema/properties/target/title"),
        Some(&"Destination".into())
    );
    for (what, pointer) in [("file", "/properties/flow/additionalProperties"), ("api", "/methods/0/name"), ("kinds", "/fr/0/kind")] {
        let (code, out, said) = cli(&["schema", what]);
        assert_eq!((code, said.as_str()), (0, ""));
        let document: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(document.pointer(pointer).is_some(), "{what}: no {pointer}");
    }
    for (args, word) in
        [(&["completions", "bash"], "_domoflux"), (&["completions", "zsh"], "#compdef domoflux"), (&["completions", "fish"], "domoflux")]
    {
        let (code, out, _) = cli(args);
        assert_eq!(code, 0);
        assert!(out.contains(word), "{args:?}");
    }
    let (code, out, _) = cli(&["man"]);
    assert_eq!(code, 0);
    assert!(out.contains(".TH domoflux 1"), "{out}");
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(cli(&["man", "--dir", dir.path().to_str().unwrap()]).0, 0);
    for page in ["domoflux.1", "domoflux-daemon.1", "domoflux-mirror.1"] {
        assert!(std::fs::read_to_string(dir.path().join(page)).unwrap().contains(".TH"), "{page}");
    }
}

/// Starts a daemon with these arguments and variables, and gives what it says until its API listens.
fn daemon_with(args: &[&str], variables: &[(&str, &str)], says: &str) -> String {
    let mut command = domoflux(["daemon"]);
    command.args(args).envs(variables.iter().copied());
    let mut process = Process::start(command);
    let said = process.says(says);
    process.signal(rustix::process::Signal::TERM);
    assert!(process.exit().success());
    said
}

#[test]
fn the_daemon_takes_its_settings_from_the_environment_unless_the_command_line_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let variables = [
        ("DOMOFLUX_LISTEN", "127.3.2.1:0"),
        ("DOMOFLUX_STATE_DIR", state),
        ("DOMOFLUX_LOG_FORMAT", "json"),
        ("DOMOFLUX_LOG_LEVEL", "info"),
        ("DOMOFLUX_INSTANCE", "here"),
    ];
    let said = daemon_with(&[], &variables, "the API listens on 127.3.2.1:");
    assert!(said.starts_with("{\"at\":") && said.contains(state) && said.contains("here"), "{said}");
    let said = daemon_with(&["--listen", "127.0.0.1:0", "--log-format", "text"], &variables, "the API listens on 127.0.0.1:");
    assert!(!said.contains("127.3.2.1") && !said.starts_with('{'), "{said}");
    // Before a file, but not before the command line.
    let file = dir.path().join("domoflux.toml");
    std::fs::write(&file, "[daemon]\nlisten = \"127.0.0.1:0\"\nlog_format = \"text\"\n").unwrap();
    let said = daemon_with(&["--config", file.to_str().unwrap()], &variables, "the API listens on 127.3.2.1:");
    assert!(said.starts_with('{'), "{said}");
    // What is empty is not set.
    let empty = variables.map(|(name, _)| (name, ""));
    let args = ["--state-dir", state, "--config", file.to_str().unwrap()];
    let said = daemon_with(&args, &empty, "the API listens on 127.0.0.1:");
    assert!(!said.starts_with('{') && said.contains("instance \"default\""), "{said}");
    // What is wrong is named.
    let mut wrong = domoflux(["daemon", "--state-dir", state]);
    wrong.env("DOMOFLUX_LISTEN", "somewhere");
    let (code, _, said) = run(wrong);
    assert!(code == 64 && said.contains("somewhere") && said.contains("--listen"), "{said}");
    let (_, help, _) = run(domoflux(["daemon", "--help"]));
    for (name, _) in variables {
        assert!(help.contains(&format!("[env: {name}")), "{name} is not in the help");
    }
}
