//! How a line of the log looks.

use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use chrono::{DateTime, Local, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Level;

use super::Line;

/// How a line looks. Whatever an event says, it is one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `2026-11-20T13:21:00.123Z INFO flow=panel text`
    #[default]
    Text,
    /// `[2026-11-20 13:21:00][INFO] panel: text`, as Jeedom's log viewer wants it.
    Jeedom,
    /// `{"at":"2026-11-20T13:21:00.123Z","level":"info","flow":"panel","text":"text"}`
    Json,
    /// `<6>flow=panel text`, with the priority that systemd's journal takes; it has the time itself.
    Journal,
}

impl Format {
    /// What suits whoever reads standard error: the journal, or anybody else.
    pub fn of_stderr() -> Self {
        let stream = std::env::var("JOURNAL_STREAM").ok();
        let is_journal = stream.is_some_and(|stream| {
            let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from);
            stderr.and_then(|file| file.metadata()).is_ok_and(|file| is_stream(&stream, file.dev(), file.ino()))
        });
        if is_journal { Self::Journal } else { Self::Text }
    }

    /// What a command says last before it fails.
    pub fn failure(self, text: &str) -> String {
        match self {
            Self::Journal => text.lines().flat_map(|line| ["<3>", line, "\n"]).collect(),
            _ => format!("domoflux: {text}\n"),
        }
    }

    pub(super) fn line(self, level: Level, line: &Line) -> String {
        let Line { flow, text, at, .. } = line;
        let at = DateTime::<Utc>::from_timestamp_millis(i64::try_from(*at).unwrap_or(0)).unwrap_or_default();
        let utc = at.format("%Y-%m-%dT%H:%M:%S%.3fZ");
        let marked = flow.as_ref().map_or_else(String::new, |flow| format!("flow={flow} "));
        match self {
            Self::Text => format!("{utc} {level:5} {marked}{text}\n"),
            Self::Jeedom => {
                let level = if level == Level::WARN { "WARNING" } else { level.as_str() };
                let flow = flow.as_ref().map_or_else(String::new, |flow| format!("{flow}: "));
                format!("[{}][{level}] {flow}{text}\n", at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S"))
            }
            Self::Json => {
                #[derive(Serialize)]
                struct Fields<'a> {
                    at: String,
                    level: &'static str,
                    #[serde(skip_serializing_if = "Option::is_none")]
                    flow: Option<&'a str>,
                    text: &'a str,
                }
                let fields = Fields { at: utc.to_string(), level: level_name(level), flow: flow.as_deref(), text };
                serde_json::to_string(&fields).unwrap_or_default() + "\n"
            }
            Self::Journal => format!("<{}>{marked}{text}\n", priority(level)),
        }
    }
}

/// Whether `JOURNAL_STREAM` names this file: `<device>:<inode>`, in decimal (systemd.exec(5)).
fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

pub(super) fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        _ => "debug",
    }
}

/// The priority of a level (syslog(3)).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(flow: Option<&str>, text: &str) -> Line {
        Line { seq: 1, at: 1_795_180_860_123, level: "warn", flow: flow.map(str::to_owned), text: text.to_owned() }
    }

    #[test]
    fn each_format_has_its_line() {
        let line = line(Some("panel"), "it says \"no\"");
        let of = |format: Format| format.line(Level::WARN, &line);
        assert_eq!(of(Format::Text), "2026-11-20T13:21:00.123Z WARN  flow=panel it says \"no\"\n");
        assert_eq!(of(Format::Journal), "<4>flow=panel it says \"no\"\n");
        assert!(of(Format::Jeedom).ends_with("][WARNING] panel: it says \"no\"\n"));
        let json: serde_json::Value = serde_json::from_str(&of(Format::Json)).unwrap();
        assert_eq!((&json["level"], &json["flow"], &json["text"]), (&"warn".into(), &"panel".into(), &"it says \"no\"".into()));
    }

    #[test]
    fn no_flow_leaves_no_trace_of_one() {
        let line = line(None, "text");
        assert_eq!(Format::Journal.line(Level::ERROR, &line), "<3>text\n");
        assert!(!Format::Json.line(Level::INFO, &line).contains("flow"));
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        assert!(is_stream("9:1234", 9, 1234));
        for other in ["9:1235", "8:1234", "9", "", "9:1234:5"] {
            assert!(!is_stream(other, 9, 1234), "{other}");
        }
    }

    #[test]
    fn every_line_of_a_failure_has_its_priority() {
        assert_eq!(Format::Journal.failure("a\nb"), "<3>a\n<3>b\n");
        assert_eq!(Format::Text.failure("a\nb"), "domoflux: a\nb\n");
    }
}
