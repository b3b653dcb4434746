//! What the kernel knows about a process that runs: its time, its memory, its end.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Signal};

/// The unit of the times in `/proc/<pid>/stat`: 10 ms on every architecture this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A proxy, ended and waited for when dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts `command` with its output in `log`.
    pub(crate) fn start(command: &mut Command, log: fs::File) -> Result<Self, String> {
        let error = log.try_clone().map_err(|e| e.to_string())?;
        command.stdin(Stdio::null()).stdout(log).stderr(error);
        let program = command.get_program().to_string_lossy().into_owned();
        command.spawn().map(Self).map_err(|e| format!("{program}: {e}"))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Seconds of processor time so far, with all threads and children.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let ticks: u64 = tree(self.0.id()).iter().map(|&pid| stat(pid).map_or(0, |s| s.ticks)).sum();
        ticks as f64 / TICKS_PER_SECOND
    }

    /// A line of `/proc/<pid>/status` in bytes (`RssAnon`, `VmRSS`, `VmHWM`), summed over the children too.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        tree(self.0.id()).iter().map(|&pid| status(pid, line)).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw)
            && !self.has_ended()
        {
            // The process may end between the two calls; it is not reaped, so the id is still its own.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        // It may want to wait for a mirror that never reads; nothing it has is needed any more.
        reap(&mut self.0, Duration::from_secs(1));
    }
}

/// Waits for a child that was told to end, and kills it when it does not within `patience`.
pub(crate) fn reap(child: &mut Child, patience: Duration) {
    let deadline = Instant::now() + patience;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// As many descriptors as this account may have; the children inherit them. Returns that number.
pub(crate) fn raise_descriptors() -> u64 {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused, the soft limit stays, and the figures that need more say so.
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

struct Stat {
    parent: u32,
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; after it come the state, the parent, and from the 12th on the times.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok());
    // utime, stime, and both of the children that were waited for.
    let ticks = [11, 12, 13, 14].into_iter().filter_map(number).sum();
    Some(Stat { parent: number(1)? as u32, ticks })
}

/// Of this process and of all that it has waited for, with what those had waited for.
pub(crate) fn ticks_with_children() -> u64 {
    stat(std::process::id()).map_or(0, |s| s.ticks)
}

/// `root` and everything that descends from it.
fn tree(root: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|&&(_, its)| its == parent).map(|&(pid, _)| pid));
        next += 1;
    }
    found
}

fn status(pid: u32, line: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.split_whitespace().next());
    kilobytes.and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) * 1024
}
