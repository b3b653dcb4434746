//! The benchmark runs itself again for each server and client, so that none shares threads or a scheduler's mood with
//! another. A role's answers are lines of JSON on its stdout; what it is asked comes as lines on its stdin, and the end
//! of stdin ends it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::place::Place;
use super::process::reap;

/// First argument of a process that plays a role.
const FLAG: &str = "--role";
/// Longer than any role needs for one answer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether these are the arguments of a process that plays a role; it is over when this returns.
pub(crate) fn is_played(args: &[String], part: fn(&[&str]) -> Result<(), String>) -> bool {
    let [flag, rest @ ..] = args else { return false };
    if flag != FLAG {
        return false;
    }
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    if let Err(fault) = part(&rest) {
        answer(&json!({ "error": fault }));
    }
    true
}

/// Answers with what a client measured, and keeps what it holds until stdin ends.
pub(crate) fn answer_and_hold<T>(measured: &Value, held: T) {
    answer(measured);
    for _ in std::io::stdin().lines() {}
    drop(held);
}

/// One line to whoever started this role.
pub(crate) fn answer(value: &Value) {
    println!("{value}");
    // Nobody reads any more when the benchmark was interrupted; then stdin is at its end too.
    let _ = std::io::stdout().flush();
}

/// Answers each line of stdin with what `answer_line` makes, and ends the process with stdin.
pub(crate) fn answer_each_line(answer_line: impl Fn() -> String) {
    let _ = answer_each_line_or_fail(|| Ok(answer_line()));
    std::process::exit(0);
}

pub(crate) fn answer_each_line_or_fail(mut answer_line: impl FnMut() -> Result<String, String>) -> Result<(), String> {
    for _ in std::io::stdin().lines() {
        println!("{}", answer_line()?);
    }
    Ok(())
}

/// A role that runs, seen from the benchmark.
pub(crate) struct Role {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Role {
    pub(crate) fn start(args: &[&str], place: Place) -> Result<Self, String> {
        let name = args.join(" ");
        let mut child = place
            .command(&std::env::current_exe().map_err(|e| e.to_string())?)
            .arg(FLAG)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{name}: {e}"))?;
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let values = stdout.lines().map_while(Result::ok);
            values.map(|line| serde_json::from_str(&line).unwrap_or(Value::Null)).try_for_each(|v| sender.send(v))
        });
        let stdin = child.stdin.take();
        Ok(Self { name, child, stdin, lines })
    }

    /// A server, and the address it listens on.
    pub(crate) fn serve(mode: &str, place: Place) -> Result<(Self, SocketAddr), String> {
        let server = Self::start(&["serve", mode], place)?;
        let port = server.line()?["port"].as_u64().unwrap_or(0) as u16;
        Ok((server, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
    }

    /// The role's next answer.
    pub(crate) fn line(&self) -> Result<Value, String> {
        let value = self.lines.recv_timeout(PATIENCE).map_err(|e| match e {
            RecvTimeoutError::Timeout => format!("{}: no answer for {} s", self.name, PATIENCE.as_secs()),
            RecvTimeoutError::Disconnected => format!("{}: ended without an answer", self.name),
        })?;
        match value["error"].as_str() {
            Some(error) => Err(format!("{}: {error}", self.name)),
            None => Ok(value),
        }
    }

    /// Asks for an answer more.
    pub(crate) fn ask(&mut self) -> Result<Value, String> {
        let stdin = self.stdin.as_mut().ok_or("the role has ended")?;
        writeln!(stdin, "?").map_err(|e| format!("{}: {e}", self.name))?;
        self.line()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // The end of its stdin is what a role waits for; a stuck one is killed.
        self.stdin = None;
        reap(&mut self.child, Duration::from_secs(5));
    }
}
