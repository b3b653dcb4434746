//! `domoflux status`

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, Which};
use super::{Failure, say, text_of};

/// Show how a running daemon and its flows are.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Show it again every second.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let daemon = args.which.connect()?;
    if args.json {
        let hello = hello(&daemon)?;
        let flows = daemon.call("flow.list", json!({}))?;
        let counters = daemon.call("flow.counters", json!({}))?;
        return say(&format!("{:#}", json!({"daemon": hello, "flows": flows, "counters": counters})));
    }
    loop {
        let hello = hello(&daemon)?;
        let clear = if args.watch && std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        let mut text = format!(
            "{clear}domoflux {}, instance {}, pid {}, up {}, state in {}",
            text_of(&hello["version"]),
            text_of(&hello["instance"]),
            hello["pid"],
            uptime(hello["uptime"].as_u64().unwrap_or(0)),
            text_of(&hello["state_dir"]),
        );
        for degraded in hello["degraded"].as_array().into_iter().flatten() {
            let _ = write!(text, "\ndegraded: {}", text_of(degraded));
        }
        let _ = write!(text, "\n{}", table(&daemon)?);
        say(&text)?;
        if !args.watch {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn hello(daemon: &Client) -> Result<Value, Failure> {
    daemon.call("daemon.hello", json!({"client": "domoflux status", "api": crate::rpc::API_VERSION}))
}

/// A line a flow.
pub(super) fn table(daemon: &Client) -> Result<String, Failure> {
    let flows = daemon.call("flow.list", json!({}))?;
    let counters = daemon.call("flow.counters", json!({}))?;
    let mut rows = vec![["FLOW", "KIND", "OWNER", "STATE", "LISTENS ON", "CLIENTS", "EVER", "LAST ERROR"].map(str::to_owned)];
    for flow in flows.as_array().into_iter().flatten() {
        let of_flow = &counters[flow["id"].as_str().unwrap_or_default()];
        let listening: Vec<String> = flow["listening"].as_array().into_iter().flatten().map(text_of).collect();
        let error = if flow["error"].is_null() { &flow["last_error"]["text"] } else { &flow["error"] };
        rows.push([
            text_of(&flow["id"]),
            text_of(&flow["kind"]),
            text_of(&flow["owner"]),
            text_of(&flow["state"]),
            if listening.is_empty() { "-".to_owned() } else { listening.join(", ") },
            of_flow["activeConnections"].as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string()),
            of_flow["clientConnections"].as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string()),
            if error.is_null() { "-".to_owned() } else { text_of(error) },
        ]);
    }
    if rows.len() == 1 {
        return Ok("no flows".to_owned());
    }
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..8).map(width).collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    Ok(rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn uptime(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}
