//! `domoflux demo`: kinds of flow at work, each with all that it needs, so that a newcomer sees it.

mod inverter;
mod mirror;
mod modbus;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use super::{Failure, live, run_to_end, say};
use crate::flow::{FlowSpec, Flows, Means};
use crate::log::{Format, Log, LogLevel};
use crate::net::budget;
use crate::store::Store;

/// Show a mirror or a multiplexer at work, with devices and clients of its own; nothing else is needed.
#[derive(clap::Args)]
pub(super) struct Args {
    /// What is shown.
    #[arg(value_enum, default_value = "mirror")]
    what: What,
    /// Show what is logged meanwhile, too.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// A mirror with its target
    Mirror,
    /// A multiplexer with a Modbus device that takes one connection, and three clients
    Modbus,
}

const ID: &str = "demo";

/// How long each step may take before the demonstration counts as failed.
const STEP: Duration = Duration::from_secs(5);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let _log = Log::start(if args.verbose { LogLevel::Debug } else { LogLevel::None }, Format::Text);
    match args.what {
        What::Mirror => run_to_end(1, mirror::show())?,
        What::Modbus => run_to_end(1, modbus::show())?,
    }
}

/// Starts the flow that is shown; where it listens.
async fn start(kind: &str, spec: Value) -> Result<(Arc<Flows>, SocketAddr), Failure> {
    let flows = Flows::new(Means::new(budget::DEFAULT_TOTAL, Store::in_memory(), None));
    let wanted = FlowSpec { id: ID.to_owned(), kind: kind.to_owned(), spec, enabled: true };
    flows.apply("cli", &wanted).await.map_err(|e| Failure::new(e.to_string()))?;
    let status = flows.status(ID).map_err(|e| Failure::new(e.to_string()))?;
    let listen = *status.listening.first().ok_or_else(|| Failure::new("the flow does not listen"))?;
    Ok((flows, listen))
}

/// Ends it, and says what it has counted.
async fn end(flows: &Flows, kind: &str) -> Result<(), Failure> {
    flows.shut_down(tokio::time::sleep(Duration::from_secs(2))).await;
    let counters = flows.counters(None).map_err(|e| Failure::new(e.to_string()))?;
    for counters in counters.values() {
        say(&format!("counters  {}", live::summary(kind, &counters.values())))?;
    }
    Ok(())
}
