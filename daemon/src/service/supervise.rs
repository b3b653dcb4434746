//! A parent for hosts without systemd, as in a container: it starts the daemon, and starts it again when it dies or
//! hangs. It does nothing else, so that little can go wrong with it.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getppid, kill_process, set_parent_process_death_signal, setsid, wait};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use super::channel::{Channel, value};
use super::pid_file::PidFile;
use crate::flow::Backoff;
use crate::text::reason;

/// How long a daemon may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long one may take to stop that does not say how long it needs.
const STOPS_WITHIN: Duration = Duration::from_secs(15);
/// How long a daemon that hangs has between SIGABRT, which may leave a core dump, and SIGKILL.
const ABORTS_WITHIN: Duration = Duration::from_secs(1);
/// One that has lived this long did not die at once.
const LIVED: Duration = Duration::from_secs(10);
/// The pauses before a daemon is started that dies at once again and again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Exit codes that another start would not change: done, wrong usage, wrong configuration.
const FINAL: [i32; 3] = [0, 64, 78];

/// How to supervise.
#[derive(Clone, Debug)]
pub struct Supervisor {
    /// The program, by its path: after an update it is the new one.
    pub program: PathBuf,
    /// The daemon's command line, without the program.
    pub args: Vec<OsString>,
    /// Where the process id of the supervisor goes.
    pub pid_file: Option<PathBuf>,
    /// How long a daemon may be silent before it counts as hung.
    pub silence: Duration,
}

/// Why nothing is supervised.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// Another supervisor has the file.
    #[error("another supervisor has {path}: stop it first, or choose another --pid-file")]
    Running {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("{what}: {reason}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        reason: String,
    },
    /// The supervisor ended before its daemon began.
    #[error("the supervisor {pid} is gone")]
    Orphan {
        /// Its process id.
        pid: u32,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> SuperviseError {
    move |error| SuperviseError::System { what: what.into(), reason: reason(&error) }
}

/// Closes what this process has from the one that started it, but for its standard streams: a web server's sockets, the
/// connection to its database, its locks, none of which are to live as long as we do. Before anything is opened.
pub fn close_inherited() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        let _ = nix::unistd::close(fd); // the one of the directory is closed already
    }
}

/// What a daemon does first that a supervisor has started: it leaves the session, so that nobody's hang-up or Ctrl-C
/// reaches it beside its supervisor, and ends with its supervisor.
pub fn as_child(supervisor: u32) -> Result<(), SuperviseError> {
    let _ = setsid();
    let what = "cannot ask to end with the supervisor";
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| system(what)(error.into()))?;
    // It may have died before the kernel was asked.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    if parent == Some(supervisor) { Ok(()) } else { Err(SuperviseError::Orphan { pid: supervisor }) }
}

impl Supervisor {
    /// Supervises until the daemon is told to stop, or until another start can't help. The answer is the exit code.
    ///
    /// To be called on the first thread: the kernel takes its end for that of the daemon's parent.
    pub fn run(&self) -> Result<u8, SuperviseError> {
        // A web server that is started anew ends its session. A person at a terminal wants to end it with Ctrl-C.
        if !std::io::stderr().is_terminal() {
            let _ = setsid(); // the leader of a process group may not; it survives SIGHUP, which is passed on
        }
        let _pid_file = self.pid_file.as_deref().map(PidFile::take).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("cannot start"))?;
        runtime.block_on(self.supervise())
    }

    async fn supervise(&self) -> Result<u8, SuperviseError> {
        let mut signals = Signals::watch().map_err(system("cannot watch for signals"))?;
        let channel = Channel::open().map_err(system("cannot open a socket for what the daemon says"))?;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut died_at_once = false;
        loop {
            let started = Instant::now();
            let how = match self.start(&channel) {
                Ok(pid) => {
                    let (status, told) = self.watch(pid, &mut signals, &channel).await;
                    if let Some(code) = final_code(status, told) {
                        return Ok(code);
                    }
                    describe(status)
                }
                Err(error) => format!("can't be started: {}", reason(&error)),
            };
            let pause = if started.elapsed() > LIVED {
                backoff.reset();
                died_at_once = false;
                Duration::ZERO
            } else if std::mem::replace(&mut died_at_once, true) {
                backoff.pause()
            } else {
                Duration::ZERO
            };
            tracing::error!("supervisor: the daemon {how}; it is started again in {} ms", pause.as_millis());
            let pausing = sleep(pause);
            tokio::pin!(pausing);
            loop {
                tokio::select! {
                    biased;
                    asked = signals.next() => match asked {
                        Asked::Stop(_) => return Ok(0),
                        Asked::Reload => {} // the next start reads the file
                        Asked::Reap => drop(reap(None)),
                    },
                    () = &mut pausing => break,
                }
            }
        }
    }

    fn start(&self, channel: &Channel) -> std::io::Result<Pid> {
        let child = Command::new(&self.program)
            .args(&self.args)
            .arg(format!("--supervised-by={}", std::process::id()))
            .env("MALLOC_ARENA_MAX", std::env::var_os("MALLOC_ARENA_MAX").unwrap_or_else(|| "1".into())) // as in the unit
            .env("NOTIFY_SOCKET", channel.address())
            .env("WATCHDOG_USEC", self.silence.as_micros().to_string())
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Pid::from_child(&child))
    }

    /// Waits for the end of a daemon, and says how it ended and whether that was wanted.
    async fn watch(&self, pid: Pid, signals: &mut Signals, channel: &Channel) -> (ExitStatus, bool) {
        let kill = |signal| {
            let _ = kill_process(pid, signal); // it may be gone, which SIGCHLD says
        };
        let mut deadline = Instant::now() + READY_WITHIN.max(self.silence);
        let (mut is_ready, mut reload_later, mut is_stopping, mut is_hung) = (false, false, false, false);
        loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Reap => if let Some(status) = reap(Some(pid)) { return (status, is_stopping) },
                    Asked::Stop(signal) => {
                        kill(signal);
                        if !is_stopping {
                            deadline = Instant::now() + STOPS_WITHIN;
                        }
                        is_stopping = true;
                    }
                    // Before it is ready, SIGHUP would end it.
                    Asked::Reload if is_ready => kill(Signal::HUP),
                    Asked::Reload => reload_later = true,
                },
                Ok(message) = channel.hear(pid) => {
                    if value(&message, "STOPPING") == Some("1") {
                        let needs = value(&message, "EXTEND_TIMEOUT_USEC").and_then(|usec| usec.parse().ok());
                        deadline = Instant::now() + needs.map_or(STOPS_WITHIN, Duration::from_micros);
                        is_stopping = true;
                    } else if !is_stopping && !is_hung {
                        let is_now_ready = value(&message, "READY") == Some("1");
                        is_ready |= is_now_ready;
                        if is_now_ready && std::mem::take(&mut reload_later) {
                            kill(Signal::HUP);
                        }
                        if is_now_ready || value(&message, "WATCHDOG") == Some("1") {
                            deadline = Instant::now() + self.silence;
                        }
                    }
                }
                () = sleep_until(deadline) => {
                    let late = deadline.elapsed();
                    deadline = Instant::now() + ABORTS_WITHIN;
                    if late > ABORTS_WITHIN {
                        // This process was stopped itself, and the daemon with it perhaps.
                        deadline = Instant::now() + self.silence;
                    } else if is_stopping || is_hung {
                        tracing::error!("supervisor: the daemon does not end, and is killed");
                        kill(Signal::KILL);
                    } else {
                        tracing::error!("supervisor: the daemon was silent for {} s, and is ended", self.silence.as_secs_f32());
                        kill(Signal::ABORT);
                        is_hung = true;
                    }
                }
            }
        }
    }
}

/// The exit code with which supervising is over, if it is.
fn final_code(status: ExitStatus, told: bool) -> Option<u8> {
    let code = status.code().filter(|code| told || FINAL.contains(code));
    code.or(told.then_some(1)).map(|code| u8::try_from(code).unwrap_or(1))
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        _ => "ended".to_owned(),
    }
}

/// Takes what has ended off the kernel's list: the daemon, whose status is the answer, and whatever the first process
/// of a container inherits.
fn reap(wanted: Option<Pid>) -> Option<ExitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if Some(pid) == wanted {
            found = Some(ExitStatus::from_raw(status.as_raw()));
        }
    }
    found
}

/// What a supervisor is asked for.
enum Asked {
    Stop(Signal),
    Reload,
    Reap,
}

struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    child: unix::Signal,
}

impl Signals {
    fn watch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.child.recv() => Asked::Reap,
            _ = self.terminate.recv() => Asked::Stop(Signal::TERM),
            _ = self.interrupt.recv() => Asked::Stop(Signal::INT),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_it_was_told_to_or_when_another_start_cannot_help() {
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        let killed = ExitStatus::from_raw(9);
        for (status, told, expected) in [
            (code(0), false, Some(0)),
            (code(78), false, Some(78)),
            (code(64), false, Some(64)),
            (code(1), false, None),
            (code(101), false, None),
            (killed, false, None),
            (code(1), true, Some(1)),
            (killed, true, Some(1)),
            (code(0), true, Some(0)),
        ] {
            assert_eq!(final_code(status, told), expected, "{status}, {told}");
        }
    }
}
