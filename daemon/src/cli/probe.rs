//! `domoflux probe`

use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Which;
use super::{Failure, UNAVAILABLE, probe_modbus, runtime, say, text_of};
use crate::net::{Address, Dialler};
use crate::units::Seconds;

/// Ask whether somebody answers at an address, or whether flows serve.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Connect by TCP and say how long it took. Exit code 0: somebody answers, 69: nobody does.
    Tcp {
        /// Host and port.
        address: Address,
        /// How long to wait.
        #[arg(long, default_value = "5s", value_name = "DURATION")]
        timeout: Seconds,
    },
    Modbus(probe_modbus::Args),
    /// Ask a running daemon whether flows serve. Exit code 0: all do, 69: one does not, or no daemon answers.
    ///
    /// It asks the daemon, and connects to no flow: a connection would be passed on to the target and to the mirrors.
    Flow {
        /// Their ids; without any, all flows that are enabled, of which there must be one.
        ids: Vec<String>,
        /// A target must answer as well, as far as the flow's last clients and probes know.
        #[arg(long)]
        target: bool,
        /// How long to wait for the daemon.
        #[arg(long, default_value = "2s", value_name = "DURATION")]
        timeout: Seconds,
        #[command(flatten)]
        which: Which,
    },
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.what {
        What::Tcp { address, timeout } => tcp(&address, timeout),
        What::Modbus(args) => probe_modbus::run(&args),
        What::Flow { ids, target, timeout, which } => flows(ids, target, timeout, which),
    }
}

fn tcp(address: &Address, timeout: Seconds) -> Result<(), Failure> {
    let dialler = Dialler { timeout: timeout.0.max(Duration::from_millis(1)), keepalive: false };
    let started = Instant::now();
    let stream = runtime(1)?.block_on(dialler.dial(address)).map_err(|e| Failure::with_code(e.to_string(), UNAVAILABLE))?;
    // One that has reset the connection meanwhile has answered, too.
    let peer = stream.peer_addr().map_or_else(|_| "somebody".to_owned(), |peer| peer.to_string());
    say(&format!("{address}: {peer} answers after {:.1} ms", started.elapsed().as_secs_f64() * 1000.0))
}

/// A daemon that hangs is as good as none, so the answer has a deadline whatever the question is stuck in.
fn flows(ids: Vec<String>, target: bool, timeout: Seconds, which: Which) -> Result<(), Failure> {
    let (tells, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tells.send(ask(&ids, target, &which)));
    let silent = |_| Failure::with_code(format!("the daemon does not answer within {timeout}"), UNAVAILABLE);
    say(&told.recv_timeout(timeout.0).map_err(silent)??)
}

fn ask(ids: &[String], target: bool, which: &Which) -> Result<String, Failure> {
    let daemon = which.connect()?;
    let fail = |text: String| Err(Failure::with_code(text, UNAVAILABLE));
    let flows = daemon.call("flow.list", json!({}))?;
    let flows = flows.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut asked: Vec<&Value> = Vec::new();
    for id in ids {
        let Some(flow) = flows.iter().find(|flow| flow["id"] == **id) else { return fail(format!("{id}: there is no such flow")) };
        asked.push(flow);
    }
    if ids.is_empty() {
        asked.extend(flows.iter().filter(|flow| flow["enabled"] == true));
    }
    if asked.is_empty() {
        return fail("no flow is enabled".to_owned());
    }
    let counters = if target { daemon.call("flow.counters", json!({}))? } else { Value::Null };
    let mut lines = Vec::new();
    for flow in asked {
        let id = text_of(&flow["id"]);
        if flow["isListening"] != true {
            let why = if flow["error"].is_null() { String::new() } else { format!(": {}", text_of(&flow["error"])) };
            return fail(format!("{id} does not serve, it is {}{why}", text_of(&flow["state"])));
        }
        if target && counters[&id]["targetInUse"] == 0 {
            return fail(format!("{id} serves, but no target answers"));
        }
        let at: Vec<String> = flow["listening"].as_array().into_iter().flatten().map(text_of).collect();
        lines.push(format!("{id} serves on {}", at.join(", ")));
    }
    Ok(lines.join("\n"))
}
