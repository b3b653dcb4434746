//! `domoflux flow`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::client::{Client, Which};
use super::status::table;
use super::{CONFIG, Failure, say};
use crate::config::ConfigFile;

/// Who owns the flows that are applied here.
const OWNER: &str = "cli";

/// Look at the flows of a running daemon, and change them.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    which: Which,
}

#[derive(Subcommand)]
enum Action {
    /// List the flows.
    List,
    /// Show one flow, with its spec and its counters, as JSON.
    Show {
        /// Its id.
        id: String,
    },
    /// Create or change the flows of a TOML file; other flows stay as they are.
    Apply {
        /// The file, as for `domoflux daemon --config`; its [daemon] table is passed over.
        file: PathBuf,
    },
    /// End a flow, cut its connections, forget it.
    Remove {
        /// Its id.
        id: String,
    },
    /// Start a flow anew, cutting its connections.
    Restart {
        /// Its id.
        id: String,
    },
    /// Set the counters of a flow to zero.
    Reset {
        /// Its id.
        id: String,
    },
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let daemon = args.which.connect()?;
    match args.action {
        Action::List => say(&table(&daemon)?),
        Action::Show { id } => {
            let mut flow = daemon.call("flow.status", json!({ "id": id }))?;
            flow["counters"] = daemon.call("flow.counters", json!({ "ids": [id] }))?[&id].take();
            say(&format!("{flow:#}"))
        }
        Action::Apply { file } => apply(&daemon, &file),
        Action::Remove { id } => simple(&daemon, "flow.remove", &id, "removed"),
        Action::Restart { id } => simple(&daemon, "flow.restart", &id, "restarted"),
        Action::Reset { id } => simple(&daemon, "flow.reset_counters", &id, "counters set to zero"),
    }
}

fn simple(daemon: &Client, method: &str, id: &str, done: &str) -> Result<(), Failure> {
    daemon.call(method, json!({ "id": id }))?;
    say(&format!("{id}: {done}"))
}

fn apply(daemon: &Client, file: &std::path::Path) -> Result<(), Failure> {
    let file = ConfigFile::read(file).map_err(|e| Failure::with_code(e.to_string(), CONFIG))?;
    let mut failed = None;
    for flow in file.flows {
        let params = json!({"id": flow.id, "owner": OWNER, "kind": flow.kind, "spec": flow.spec, "enabled": flow.enabled});
        match daemon.call("flow.apply", params) {
            Ok(result) => say(&format!("{}: {}", flow.id, result["applied"].as_str().unwrap_or_default()))?,
            Err(error) => {
                eprintln!("domoflux: {}: {}", flow.id, error.text);
                failed = Some(Failure { text: String::new(), code: error.code });
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
