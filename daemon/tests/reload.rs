//! SIGHUP: the configuration file is read again.

use rustix::process::Signal;

use crate::support::*;

fn flow(id: &str, target: &Server, sink: &Sink) -> String {
    format!(
        "[flow.{id}]\nkind = \"mirror\"\nlisten = \"127.0.0.1:0\"\ntarget = \"{}\"\nmirrors = [{{ address = \"{}\" }}]\n",
        target.address,
        sink.address()
    )
}

/// Writes another file, and waits until the daemon has said this about it.
#[track_caller]
fn reload(daemon: &mut Daemon, text: &str, says: &str) {
    std::fs::write(daemon.file("config.toml"), text).unwrap();
    let before = daemon.process.stderr().matches(says).count();
    daemon.process.signal(Signal::HUP);
    until(&format!("{says:?} on standard error"), || {
        (daemon.process.stderr().matches(says).count() > before).then_some(())
    });
}

#[test]
fn flows_become_what_the_file_says_and_unchanged_ones_are_not_touched() {
    let (target, sink) = (echo(), Sink::start());
    let one = |id| flow(id, &target, &sink);
    let mut daemon = Daemon::prepare().config(&format!("{}{}{}", one("same"), one("edited"), one("gone"))).start();
    let mut running: Vec<_> = ["same", "edited"].map(|id| connect(daemon.listening(id))).into();
    let at = daemon.listening("same");
    for client in &mut running {
        assert_eq!(client.ask(b"before"), b"before");
    }
    daemon.mirror("pushed", &mirror(target.address, &[sink.address()]));
    let edited = one("edited") + "max_connections = 7\n";
    let text = format!(
        "[daemon]\nlog_level = \"debug\"\nthreads = 2\nbuffer_total = \"8 MiB\"\n{}{edited}{}",
        one("same"),
        one("new")
    );
    reload(&mut daemon, &text, "read again: 1 flows created, 1 changed, 1 removed, 1 as they were");
    for client in &mut running {
        assert_eq!(client.ask(b"after"), b"after");
    }
    assert_eq!(daemon.listening("same"), at);
    daemon.listening("new");
    daemon.listening("pushed");
    assert_eq!(daemon.status("edited")["spec"]["max_connections"], 7);
    assert!(daemon.call("flow.status", serde_json::json!({"id": "gone"})).is_err());
    // What can't change is said, what can has changed.
    let said = daemon.process.stderr();
    assert!(
        said.contains("buffer_total is another one in the file now") && said.contains("threads is another one"),
        "{said}"
    );
    assert!(!said.contains("log_level is another one"), "{said}");
    connect(daemon.listening("new")).ask(b"x");
    daemon.process.says("DEBUG");
}

#[test]
fn a_wrong_file_is_refused_whole_and_everything_goes_on() {
    let (target, sink) = (echo(), Sink::start());
    let good = flow("panel", &target, &sink);
    let mut daemon = Daemon::prepare().config(&good).start();
    let at = daemon.listening("panel");
    let mut client = connect(at);
    assert_eq!(client.ask(b"before"), b"before");
    let wrong = format!("[daemon]\nlog_level = \"loud\"\n{}{}", flow("new", &target, &sink), good.replace("127.0.0.1:0", "nowhere"));
    reload(&mut daemon, &wrong, "is not taken: nothing is changed");
    let said = daemon.process.stderr();
    let file = daemon.file("config.toml");
    for place in ["2:13: daemon.log_level", "10:10: flow.panel.listen"] {
        assert!(said.contains(&format!("{}:{place}", file.display())), "no {place}: {said}");
    }
    assert_eq!(client.ask(b"after"), b"after");
    assert_eq!(daemon.listening("panel"), at);
    assert!(daemon.call("flow.status", serde_json::json!({"id": "new"})).is_err());
    // Half a file that is about to be written is not what unplugs a panel.
    reload(&mut daemon, "", "names no flow, and would remove 1: nothing is changed");
    assert_eq!(client.ask(b"still"), b"still");
    std::fs::remove_file(&file).unwrap();
    daemon.process.signal(Signal::HUP);
    daemon.process.says("cannot be read: no such file or directory");
    reload(&mut daemon, &good, "1 as they were");
    assert_eq!(client.ask(b"at last"), b"at last");
}

#[test]
fn without_a_file_a_hangup_is_said_and_changes_nothing() {
    let mut daemon = Daemon::start();
    daemon.process.signal(Signal::HUP);
    daemon.process.says("there is no file to read again");
    assert_eq!(daemon.call("flow.list", serde_json::json!({})).unwrap(), serde_json::json!([]));
}

#[test]
fn a_mirror_in_a_terminal_ends_with_it() {
    let (target, sink) = (echo(), Sink::start());
    let (to, copy) = (target.address.to_string(), sink.address().to_string());
    let mut process = Process::start(domoflux(["mirror", "-l", "127.0.0.1:0", "-t", &to, "-m", &copy]));
    process.says("listening on");
    process.signal(Signal::HUP);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&process.exit()), Some(1));
}

#[test]
fn what_the_command_line_says_stays() {
    let (target, sink) = (echo(), Sink::start());
    let good = flow("panel", &target, &sink);
    let mut daemon = Daemon::prepare().config(&good).arg("--threads", "1").arg("--log-level", "info").start();
    reload(&mut daemon, &format!("[daemon]\nthreads = 2\nlog_level = \"none\"\n{good}"), "1 as they were");
    assert!(!daemon.process.stderr().contains("another one in the file"), "{}", daemon.process.stderr());
}

#[test]
fn a_service_looks_for_its_file_in_the_configuration_directory() {
    let (target, sink) = (echo(), Sink::start());
    let dir = tempfile::tempdir().unwrap();
    let prepare = || {
        Daemon::prepare()
            .variable("CONFIGURATION_DIRECTORY", dir.path().to_str().unwrap())
            .arg("--instance", "jeedom")
    };
    assert!(prepare().start().call("flow.status", serde_json::json!({"id": "panel"})).is_err());
    std::fs::write(dir.path().join("jeedom.toml"), flow("panel", &target, &sink)).unwrap();
    let daemon = prepare().start();
    assert_eq!(daemon.status("panel")["owner"], "file");
    std::fs::write(dir.path().join("jeedom.toml"), "nonsense").unwrap();
    let mut command = domoflux(["daemon", "--instance", "jeedom", "--state-dir"]);
    command.arg(dir.path().join("state")).env("CONFIGURATION_DIRECTORY", dir.path());
    assert_eq!(run(command).0, 78);
}
