//! `domoflux dump`

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::client::{Client, Which};
use super::{Failure, say, text_of};
use crate::flow::find_kind;
use crate::redact::Redactor;
use crate::store::Store;
use crate::text::reason;

/// Lines of the log that go into it.
const LINES: usize = 300;

/// Files below the state directory that are listed.
const FILES: usize = 100;

/// Write what a bug report needs, as one JSON document that you can read before you send it.
///
/// It has the version, the machine, the flows with their counters, the last lines of the log, and the sizes of the
/// files, also when no daemon runs. Secrets are taken out. Public addresses and host names get other names.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Write into this file, for its owner only, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave public addresses and host names as they are.
    #[arg(long)]
    no_redact_addresses: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut redactor = Redactor::new(args.no_redact_addresses);
    if let Ok(token) = std::env::var("DOMOFLUX_TOKEN") {
        redactor.learn_secret(token.trim());
    }
    let daemon = args.which.connect();
    let (daemon, mut flows, state_dir) = match &daemon {
        Ok(client) => of_running(client, &mut redactor)?,
        Err(failure) => of_stopped(&failure.text, &args.which, &mut redactor),
    };
    for flow in flows.as_array_mut().into_iter().flatten() {
        let schema = find_kind(flow["kind"].as_str().unwrap_or_default()).map(crate::flow::FlowKind::schema);
        flow["spec"] = redactor.spec(&schema.unwrap_or_default(), &flow["spec"]);
    }
    let mut document = json!({
        "about": "For a bug report. Secrets are [redacted], public addresses are ip-1, ip-2 and so on, hosts host-1, host-2. Read it before you send it.",
        "version": env!("CARGO_PKG_VERSION"),
        "made_at": chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "machine": machine(),
        "daemon": daemon,
        "flows": flows,
        "state": state_dir.as_deref().map(state),
    });
    redactor.document(&mut document);
    let text = format!("{document:#}");
    let Some(file) = &args.output else { return say(&text) };
    let write = || {
        let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
        if out.metadata()?.is_file() {
            out.set_permissions(Permissions::from_mode(0o600))?; // it may have been there already
        }
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")
    };
    write().map_err(|e| Failure::new(format!("cannot write {}: {}", file.display(), reason(&e))))?;
    say(&format!("{}: read it before you send it", file.display()))
}

/// What a daemon says of itself, its flows, and where its state is.
fn of_running(client: &Client, redactor: &mut Redactor) -> Result<(Value, Value, Option<PathBuf>), Failure> {
    redactor.learn_secret(client.token());
    let mut daemon = client.call("daemon.hello", json!({"client": "domoflux dump", "api": crate::rpc::API_VERSION}))?;
    let state_dir = daemon["state_dir"].as_str().map(PathBuf::from);
    let pid = daemon["pid"].as_u64().unwrap_or_default();
    daemon["answers"] = true.into();
    daemon["process"] = process(pid);
    let metrics = client.metrics().unwrap_or_default();
    let queues = metrics.lines().filter_map(|line| line.strip_prefix("domoflux_queue")?.split_once(' '));
    daemon["queues"] = queues.map(|(name, value)| (format!("queue{name}"), value.into())).collect::<Map<_, _>>().into();
    let lines = client.call("log.tail", json!({ "lines": LINES }))?;
    let lines = lines.as_array().into_iter().flatten().map(|line| {
        let at = line["at"].as_i64().and_then(chrono::DateTime::from_timestamp_millis).unwrap_or_default();
        let flow = line["flow"].as_str().map_or_else(String::new, |flow| format!("flow={flow} "));
        format!("{} {:5} {flow}{}", at.format("%Y-%m-%dT%H:%M:%S%.3fZ"), text_of(&line["level"]), text_of(&line["text"]))
    });
    daemon["log"] = lines.collect();
    // An older daemon has none. The answer never has the key.
    daemon["callback"] = client.call("callback.status", json!({})).unwrap_or_default();
    let mut flows = client.call("flow.list", json!({}))?;
    let counters = client.call("flow.counters", json!({}))?;
    for flow in flows.as_array_mut().into_iter().flatten() {
        flow["counters"] = counters[flow["id"].as_str().unwrap_or_default()].clone();
    }
    Ok((daemon, flows, state_dir))
}

/// What can be read when no daemon answers.
fn of_stopped(why: &str, which: &Which, redactor: &mut Redactor) -> (Value, Value, Option<PathBuf>) {
    let daemon = json!({"answers": false, "why": why, "instance": which.instance()});
    let Some(dir) = which.directories().into_iter().find(|dir| dir.join("domoflux.db").exists()) else {
        return (daemon, Value::Array(Vec::new()), None);
    };
    if let Ok(token) = std::fs::read_to_string(dir.join("token")) {
        redactor.learn_secret(token.trim());
    }
    let flows = match Store::left_in(&dir) {
        Ok(rows) => rows
            .into_iter()
            .map(|row| json!({"id": row.id, "owner": row.owner, "kind": row.kind, "enabled": row.enabled, "spec": row.spec}))
            .collect(),
        Err(error) => json!([{ "error": error.to_string() }]),
    };
    (daemon, flows, Some(dir))
}

fn machine() -> Value {
    let read = |file: &str| std::fs::read_to_string(file).ok();
    let release = read("/etc/os-release").unwrap_or_default();
    let os = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned());
    let memory = read("/proc/meminfo").and_then(|text| Some(text.lines().next()?.split_once(':')?.1.trim().to_owned()));
    json!({
        "os": os,
        "kernel": rustix::system::uname().release().to_string_lossy(),
        "arch": std::env::consts::ARCH,
        "model": read("/proc/device-tree/model").map(|text| text.trim_end_matches('\0').to_owned()),
        "processors": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "memory": memory,
        "container": Path::new("/.dockerenv").exists(),
        "systemd": Path::new("/run/systemd/system").exists(),
    })
}

/// Memory, threads, descriptors and limits of a process, as far as this user may see them.
fn process(pid: u64) -> Value {
    let proc = PathBuf::from("/proc").join(pid.to_string());
    let read = |name: &str| std::fs::read_to_string(proc.join(name)).unwrap_or_default();
    let status = read("status");
    let fields = status.lines().filter_map(|line| line.split_once(':'));
    let fields = fields.filter(|(name, _)| matches!(*name, "VmRSS" | "VmHWM" | "RssAnon" | "Threads"));
    let mut found: Map<String, Value> = fields.map(|(name, value)| (name.to_owned(), value.trim().into())).collect();
    let limits: Vec<Value> = read("limits")
        .lines()
        .filter(|line| line.starts_with("Max open files") || line.starts_with("Max processes"))
        .map(spaced)
        .collect();
    found.insert("limits".to_owned(), limits.into());
    found.insert("open_files".to_owned(), std::fs::read_dir(proc.join("fd")).map_or(Value::Null, |files| files.count().into()));
    found.into()
}

fn spaced(line: &str) -> Value {
    line.split_whitespace().collect::<Vec<_>>().join(" ").into()
}

fn state(dir: &Path) -> Value {
    let mut files = Vec::new();
    if let Err(error) = list(dir, dir, &mut files) {
        return json!({"directory": dir, "error": reason(&error)});
    }
    files.sort_by_key(|file| text_of(&file["name"]));
    let store = std::fs::metadata(dir.join("domoflux.db")).map_or(Value::Null, |file| file.len().into());
    json!({"directory": dir, "store_bytes": store, "files": files})
}

/// Lists what is below a directory, by its path from `root`.
fn list(root: &Path, dir: &Path, files: &mut Vec<Value>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)?.flatten() {
        if files.len() >= FILES {
            return Ok(());
        }
        let (path, Ok(file)) = (entry.path(), entry.metadata()) else { continue };
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
        if file.is_dir() && dir.to_string_lossy().ends_with(".d/spool") {
            files.push(spool(&name, &path)); // thousands of records would leave no room for anything else
            continue;
        }
        files.push(json!({
            "name": name,
            "bytes": if file.is_dir() { Value::Null } else { file.len().into() },
            "mode": format!("{:o}", file.mode() & 0o7777),
            "owner": format!("{}:{}", file.uid(), file.gid()),
        }));
        if file.is_dir() {
            let _ = list(root, &path, files); // one that can't be read is listed itself
        }
    }
    Ok(())
}

/// How much a spool holds.
fn spool(name: &str, dir: &Path) -> Value {
    let files = match std::fs::read_dir(dir) {
        Ok(files) => files,
        Err(error) => return json!({"name": name, "error": reason(&error)}),
    };
    let sizes = files.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len());
    let (records, bytes) = sizes.fold((0_u64, 0_u64), |(records, bytes), size| (records + 1, bytes + size));
    json!({"name": name, "records": records, "bytes": bytes})
}
