//! The TOML file, for use without a host: `[daemon]` and one `[flow.<id>]` a flow.
//!
//! All errors of a file are reported at once, each with its line and column.

mod toml;

use std::fmt::{self, Write as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::flow::{FlowSpec, KINDS, Problem, find_kind, name_problem, read_all, schema_of};
use crate::log::{Format, LogLevel};
use crate::net::budget::LEAST_TOTAL;
use crate::text::reason;
use crate::units::{Bytes, Seconds};
use toml::Source;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// A file that was read.
#[derive(Debug, Default)]
pub struct ConfigFile {
    /// What `[daemon]` says.
    pub daemon: DaemonTable,
    /// The flows, in the order of the file.
    pub flows: Vec<FlowSpec>,
}

/// `[daemon]`: what the command line does not say.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DaemonTable {
    /// Where the API listens.
    #[schemars(with = "Option<String>", extend("examples" = ["127.0.0.1:55172"]))]
    pub listen: Option<std::net::SocketAddr>,
    /// Where the store and the token are.
    pub state_dir: Option<PathBuf>,
    /// How much is logged.
    pub log_level: Option<LogLevel>,
    /// How a log line looks.
    pub log_format: Option<Format>,
    /// The memory that all relay queues share.
    pub buffer_total: Option<Bytes>,
    /// How long connections may go on after a stop is asked for.
    pub drain_timeout: Option<Seconds>,
    /// How many threads relay.
    #[schemars(range(min = 1, max = 256))]
    pub threads: Option<u16>,
    /// Whether /metrics needs no token.
    #[serde(default)]
    pub metrics_public: bool,
}

/// How long connections may go on after a stop is asked for, where nobody says it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

impl DaemonTable {
    /// What this one says, and where it says nothing, what the other does.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            state_dir: self.state_dir.or(other.state_dir),
            log_level: self.log_level.or(other.log_level),
            log_format: self.log_format.or(other.log_format),
            buffer_total: self.buffer_total.or(other.buffer_total),
            drain_timeout: self.drain_timeout.or(other.drain_timeout),
            threads: self.threads.or(other.threads),
            metrics_public: self.metrics_public || other.metrics_public,
        }
    }

    /// `drain_timeout`, or its default.
    pub fn drain_timeout(&self) -> Duration {
        self.drain_timeout.map_or(DRAIN_TIMEOUT, |Seconds(timeout)| timeout)
    }

    /// What is not as in another one, of what a running daemon can't change.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let differs = [
            ("listen", self.listen != other.listen),
            ("state_dir", self.state_dir != other.state_dir),
            ("log_format", self.log_format != other.log_format),
            ("buffer_total", self.buffer_total != other.buffer_total),
            ("threads", self.threads != other.threads),
            ("metrics_public", self.metrics_public != other.metrics_public),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.threads.is_some_and(|n| !(1..=256).contains(&n)) {
            problems.push(Problem::new("/threads", "between 1 and 256 threads are possible"));
        }
        if self.buffer_total.is_some_and(|total| total.0 < LEAST_TOTAL as u64) {
            problems.push(Problem::new("/buffer_total", "at least 1 MiB is needed"));
        }
        if self.listen.is_some_and(|listen| !listen.ip().is_loopback()) {
            problems.push(Problem::new("/listen", "the API is for this machine only: use 127.0.0.1 or [::1]"));
        }
        problems
    }
}

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// Line and column, counted from 1.
    pub at: (usize, usize),
    /// The item, as `flow.panel.listen`.
    pub item: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Everything that is wrong with a file.
#[derive(Clone, Debug)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong in it, in its order.
    pub problems: Vec<FileProblem>,
}

impl std::error::Error for FileError {}

impl FileError {
    /// A line for each problem, with its place.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.problems.iter().map(|FileProblem { at: (line, column), item, message }| {
            let mut text = self.path.display().to_string();
            if *line > 0 {
                let _ = write!(text, ":{line}:{column}");
            }
            if !item.is_empty() {
                let _ = write!(text, ": {item}");
            }
            text + ": " + message
        })
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("\n"))
    }
}

impl ConfigFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let fail = |message: String| FileError { path: path.to_owned(), problems: vec![FileProblem { at: (0, 0), item: String::new(), message }] };
        let unreadable = |e: std::io::Error| fail(format!("cannot be read: {}", reason(&e)));
        // A pipe or a device could be read for ever.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(fail("is not a file".to_owned()));
        }
        let mut text = String::new();
        std::fs::File::open(path)
            .map_err(unreadable)?
            .take(LARGEST + 1)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        if text.len() as u64 > LARGEST {
            return Err(fail(format!("has more than the {LARGEST} bytes that a configuration may have")));
        }
        Self::parse(&text).map_err(|problems| FileError { path: path.to_owned(), problems })
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, Vec<FileProblem>> {
        let source = Source::parse(text)?;
        let mut problems = Vec::new();
        let mut file = Self::default();
        for (name, value) in &source.fields {
            match name.as_str() {
                "daemon" => match read_all(value, DaemonTable::check) {
                    Ok(daemon) => file.daemon = daemon,
                    Err(found) => problems.extend(found.0.into_iter().map(|p| Problem { pointer: format!("/daemon{}", p.pointer), ..p })),
                },
                "flow" => match value {
                    Value::Object(flows) => flows.iter().for_each(|(id, flow)| match read_flow(id, flow) {
                        Ok(flow) => file.flows.push(flow),
                        Err(found) => problems.extend(found),
                    }),
                    _ => problems.push(Problem::new("/flow", "must be tables: write [flow.<id>], for example [flow.panel]")),
                },
                other => problems.push(Problem::new(format!("/{other}"), "is not known here; a file has [daemon] and [flow.<id>]")),
            }
        }
        if problems.is_empty() {
            return Ok(file);
        }
        let mut problems: Vec<_> = problems.into_iter().map(|p| source.place(p)).collect();
        problems.sort_by_key(|p| p.at);
        Err(problems)
    }
}

/// `[flow.<id>]` has `kind`, `enabled`, and the fields of the kind's spec.
fn read_flow(id: &str, table: &Value) -> Result<FlowSpec, Vec<Problem>> {
    let place = |pointer: &str| format!("/flow/{}{pointer}", id.replace('~', "~0").replace('/', "~1"));
    let Value::Object(fields) = table else {
        return Err(vec![Problem::new(place(""), "must be a table: write [flow.<id>], for example [flow.panel]")]);
    };
    let mut spec = fields.clone();
    let kinds = KINDS.iter().map(|k| format!("{:?}", k.name())).collect::<Vec<_>>().join(", ");
    let mut problems: Vec<Problem> = name_problem(&place(""), id).into_iter().collect();
    let enabled = match spec.shift_remove("enabled") {
        None => true,
        Some(Value::Bool(enabled)) => enabled,
        Some(_) => {
            problems.push(Problem::new(place("/enabled"), "must be true or false"));
            true
        }
    };
    let kind = match spec.shift_remove("kind") {
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(vec![Problem::new(place("/kind"), &format!("must be one of {kinds}"))]),
        None => return Err(vec![Problem::new(place("/kind"), &format!("is missing: write kind = one of {kinds}"))]),
    };
    let Some(known) = find_kind(&kind) else {
        return Err(vec![Problem::new(place("/kind"), &format!("{kind:?} is not a kind of flow: write one of {kinds}"))]);
    };
    let spec = Value::Object(spec);
    if let Err(found) = known.build(&spec) {
        problems.extend(found.0.into_iter().map(|p| Problem { pointer: place(&p.pointer), ..p }));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(FlowSpec { id: id.to_owned(), kind, spec, enabled })
}

/// The JSON Schema of the file, for editors.
pub fn file_schema() -> Value {
    let mut flows = Vec::new();
    for kind in KINDS {
        let mut schema = kind.schema();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("kind".into(), serde_json::json!({"const": kind.name(), "description": "Kind of the flow."}));
            properties.insert(
                "enabled".into(),
                serde_json::json!({"type": "boolean", "default": true, "description": "Whether it is to run."}),
            );
        }
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.insert(0, "kind".into());
        }
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("$schema");
        }
        flows.push(schema);
    }
    let mut daemon = schema_of::<DaemonTable>();
    daemon.as_object_mut().map(|fields: &mut Map<String, Value>| fields.remove("$schema"));
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "domoflux configuration file",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "daemon": daemon,
            "flow": {"type": "object", "propertyNames": {"pattern": "^[A-Za-z0-9._-]{1,64}$"}, "additionalProperties": {"oneOf": flows}},
        },
    })
}

#[cfg(test)]
mod tests;
