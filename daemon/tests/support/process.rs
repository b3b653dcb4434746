//! The real binary as a process, with what it says.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{until, until_within};

/// The binary that is tested: the one built for the tests, or the one that `DOMOFLUX_BIN` names, for long runs.
pub(crate) fn binary() -> std::ffi::OsString {
    std::env::var_os("DOMOFLUX_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_domoflux").into())
}

/// The command, in a clean environment.
pub(crate) fn domoflux<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(args);
    clean(command)
}

/// Without what the environment of the one who runs the tests would add.
pub(crate) fn clean(mut command: Command) -> Command {
    let ours = ["DOMOFLUX_TOKEN", "DOMOFLUX_INSTANCE", "DOMOFLUX_STATE_DIR", "DOMOFLUX_LISTEN", "DOMOFLUX_LOG_FORMAT", "DOMOFLUX_LOG_LEVEL"];
    let systemds =
        ["STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CONFIGURATION_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"];
    for variable in ours.into_iter().chain(systemds) {
        command.env_remove(variable);
    }
    command
}

/// Runs a command to its end: exit code, standard output, standard error.
#[track_caller]
pub(crate) fn run(command: Command) -> (i32, String, String) {
    let mut process = Process::start(command);
    let status = process.exit();
    (status.code().expect("it was killed"), process.stdout(), process.stderr())
}

/// A process that is killed when the test lets go of it.
pub(crate) struct Process {
    child: Child,
    out: Output,
    err: Output,
    readers: Vec<JoinHandle<()>>,
}

type Output = Arc<Mutex<Vec<u8>>>;

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, err) = (Output::default(), Output::default());
        let readers = vec![collect(child.stdout.take().unwrap(), &out), collect(child.stderr.take().unwrap(), &err)];
        Self { child, out, err, readers }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn exit(&mut self) -> ExitStatus {
        let status = until_within(Duration::from_secs(20), "the process exits", || self.child.try_wait().unwrap());
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        status
    }

    pub(crate) fn has_exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until standard error has this text; all of it so far.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> String {
        until(&format!("{text:?} on standard error"), || {
            let exited = self.has_exited();
            let said = self.stderr();
            assert!(exited.is_none() || said.contains(text), "it exited without saying {text:?}, but {said:?}");
            Some(said).filter(|said| said.contains(text))
        })
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.out.lock().unwrap()).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned()
    }

    /// The most memory that it ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// The processor time that it has used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10) // USER_HZ is 100 wherever Linux runs
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- process {} said:\n{}---", self.pid(), self.stderr());
        }
    }
}

fn collect(mut from: impl Read + Send + 'static, into: &Output) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut part) {
            into.lock().unwrap().extend_from_slice(&part[..n]);
        }
    })
}
