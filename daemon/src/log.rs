//! The log: one line an event on standard error or in a file, and the last lines kept for `log.tail`. The level can be
//! changed while the daemon runs. What peers send is escaped before it comes here, and once more on its way out.

mod file;
mod format;

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::text::{printable, unix_ms};

use file::LogFile;

pub use format::Format;

/// Lines kept for `log.tail`, and the longest line.
const KEPT: usize = 1000;
const LONGEST: usize = 2000;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    None,
    /// What does not work.
    Error,
    /// And what a person should look at.
    Warn,
    /// And what happens to flows.
    #[default]
    Info,
    /// And what happens to connections.
    Debug,
}

impl LogLevel {
    fn filter(self) -> Targets {
        let level = match self {
            Self::None => return Targets::new(),
            Self::Error => Level::ERROR,
            Self::Warn => Level::WARN,
            Self::Info => Level::INFO,
            Self::Debug => Level::DEBUG,
        };
        // The libraries' own chatter says nothing to the person who reads this log.
        Targets::new().with_target("domoflux", level).with_default(level.min(Level::WARN))
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        clap::ValueEnum::from_str(text, true)
    }
}

/// One kept line.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Line {
    /// Its number, counted from 1 since the daemon started.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// `error`, `warn`, `info` or `debug`.
    pub level: &'static str,
    /// The flow that it is about.
    pub flow: Option<String>,
    /// What happened.
    pub text: String,
}

/// The last lines, and the level.
#[derive(Clone)]
pub struct Log {
    ring: Arc<Mutex<Ring>>,
    filter: Option<reload::Handle<Targets, tracing_subscriber::Registry>>,
}

#[derive(Default)]
struct Ring {
    last_seq: u64,
    lines: VecDeque<Line>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// Starts logging, to standard error unless [`to_file`] was called before. Only the first call of a process does.
    pub fn start(level: LogLevel, format: Format) -> Self {
        let ring: Arc<Mutex<Ring>> = Arc::default();
        let (filter, handle) = reload::Layer::new(level.filter());
        let clear = if format == Format::Text && std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
        let lines = Lines { ring: Arc::clone(&ring), format, writer: writer(), clear };
        let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
        Self { ring, filter: started.is_ok().then_some(handle) }
    }

    /// Changes the level of the running log.
    pub fn set_level(&self, level: LogLevel) {
        if let Some(filter) = &self.filter {
            let _ = filter.reload(level.filter());
        }
    }

    /// The last `count` lines after `after`, oldest first, of one flow or of all.
    pub fn tail(&self, count: usize, flow: Option<&str>, after: u64) -> Vec<Line> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = ring.lines.iter().rev().take_while(|l| l.seq > after).filter(|l| flow.is_none() || l.flow.as_deref() == flow);
        let mut lines: Vec<Line> = wanted.take(count).cloned().collect();
        lines.reverse();
        lines
    }
}

/// Where the log goes instead of standard error.
static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Lets the log go to a file, and to standard error only while that can't be written. Counts before [`Log::start`].
pub fn to_file(path: PathBuf) {
    let _ = FILE.set(path);
}

/// Lines that may wait to be written.
const WAITING: usize = 256;

/// Writes in a thread of its own: a pipe that nobody reads, or a disk that hangs, must not stop the daemon.
struct Writer {
    lines: SyncSender<Message>,
    lost: AtomicU64,
}

enum Message {
    Line(String),
    /// Everything before it is written when the other end is dropped.
    Flush(SyncSender<()>),
}

fn writer() -> &'static Writer {
    static WRITER: OnceLock<Writer> = OnceLock::new();
    WRITER.get_or_init(|| {
        let (lines, waiting) = sync_channel(WAITING);
        let mut file = FILE.get().cloned().map(LogFile::new);
        let write = move || {
            for message in waiting {
                match message {
                    Message::Line(line) => {
                        let left = file.as_mut().map_or(Err(line.clone()), |file| file.line(&line));
                        if let Err(line) = left {
                            // Standard error may be closed: that must not end the daemon either.
                            let _ = std::io::stderr().write_all(line.as_bytes());
                        }
                    }
                    Message::Flush(done) => drop(done),
                }
            }
        };
        let _ = std::thread::Builder::new().name("log".to_owned()).stack_size(128 << 10).spawn(write);
        Writer { lines, lost: AtomicU64::new(0) }
    })
}

impl Writer {
    /// Writes a line in a format, and before it how many were lost, if any were.
    fn line(&self, format: Format, level: Level, line: &Line, clear: &str) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let mut text = String::new();
        if lost > 0 {
            let text_of_it = format!("{lost} lines of the log are lost: they were not taken in time");
            text = format.line(Level::WARN, &Line { seq: 0, at: line.at, level: "warn", flow: None, text: text_of_it });
        }
        text += clear;
        text += &format.line(level, line);
        if self.lines.try_send(Message::Line(text)).is_err() {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }
}

/// Waits a moment until the log is written. A process that ends calls it last.
pub fn flush() {
    let (done, wait) = sync_channel(1);
    if writer().lines.try_send(Message::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(Duration::from_millis(500));
    }
}

/// The layer that makes lines of events.
struct Lines {
    ring: Arc<Mutex<Ring>>,
    format: Format,
    writer: &'static Writer,
    /// What clears the line of counters that a command may show on a terminal.
    clear: &'static str,
}

#[derive(Default)]
struct Fields {
    flow: Option<String>,
    text: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.text, "{value:?}");
        } else if !field.name().starts_with("log.") {
            let _ = write!(self.text, " {}={value:?}", field.name());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "flow" => self.flow = Some(value.to_owned()),
            "message" => self.text.push_str(value),
            name => {
                let _ = write!(self.text, " {name}={value:?}");
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let mut line =
            Line { seq: 0, at: unix_ms(), level: format::level_name(level), flow: fields.flow, text: printable(fields.text.trim_start(), LONGEST) };
        self.writer.line(self.format, level, &line, self.clear);
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last_seq += 1;
        line.seq = ring.last_seq;
        if ring.lines.len() == KEPT {
            ring.lines.pop_front();
        }
        ring.lines.push_back(line);
    }
}
