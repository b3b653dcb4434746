//! The formats of the log, and which is taken.

use serde_json::Value;

use crate::support::*;

fn said(daemon: &mut Daemon) -> String {
    daemon.stop();
    daemon.process.stderr()
}

#[test]
fn json_is_an_object_a_line() {
    let mut daemon = Daemon::prepare().arg("--log-format", "json").start();
    let nobody = Nobody::new();
    let at = daemon.mirror("panel", &mirror(nobody.address, &[nobody.address]));
    let _ = connect(at).receive_all();
    let lines: Vec<Value> = said(&mut daemon)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert!(lines.len() > 3);
    assert!(lines.iter().all(|line| line["at"].as_str().unwrap().ends_with('Z') && line["text"].is_string()), "{lines:?}");
    assert!(lines.iter().any(|line| line["flow"] == "panel" && line["level"] == "warn"), "{lines:?}");
}

#[test]
fn the_journals_format_has_priorities_and_is_taken_where_the_journal_reads() {
    let mut daemon = Daemon::prepare().arg("--log-format", "journal").start();
    assert!(said(&mut daemon).lines().all(|line| line.starts_with("<6>")), "{}", daemon.process.stderr());
    // systemd tells a service the device and the inode of its standard error.
    let journal = |named: &str| {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.toml");
        std::fs::write(&config, "[daemon]\nthreads = 0\nlog_level = \"loud\"\n").unwrap();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("export JOURNAL_STREAM=$({named}); exec \"$0\" daemon --config \"$1\""), env!("CARGO_BIN_EXE_domoflux")]);
        let (code, _, said) = run({
            shell.arg(&config);
            shell
        });
        assert_eq!(code, 78, "{said}");
        said
    };
    let said = journal("stat -L -c %d:%i /proc/self/fd/2");
    assert_eq!(said.lines().filter(|line| line.starts_with("<3>") && line.contains("config.toml:")).count(), 2, "{said}");
    let said = journal("echo 1:2");
    assert!(said.starts_with("domoflux: "), "{said}");
}

#[test]
fn the_default_is_text() {
    let mut daemon = Daemon::start();
    let said = said(&mut daemon);
    assert!(said.lines().all(|line| line.contains("Z INFO  ")), "{said}");
}

#[test]
fn a_log_file_has_all_of_it_and_standard_error_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let mut daemon = Daemon::prepare().arg("--log-file", file.to_str().unwrap()).start();
    assert_eq!(said(&mut daemon), "");
    let log = std::fs::read_to_string(&file).unwrap();
    assert!(log.contains(" INFO  domoflux ") && log.contains(" started, ") && log.contains(" stopped, "), "{log}");
}
