//! `domoflux log`

use std::time::Duration;

use serde_json::json;

use super::client::Which;
use super::{Failure, say, text_of};

/// Show the last lines of a running daemon's log.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Go on with new lines as they come.
    #[arg(short, long)]
    follow: bool,
    /// How many lines.
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
    /// Only lines about this flow.
    #[arg(long)]
    flow: Option<String>,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let daemon = args.which.connect()?;
    let (mut after, mut lines) = (0, args.lines);
    loop {
        let found = daemon.call("log.tail", json!({"lines": lines, "flow": args.flow, "after": after}))?;
        for line in found.as_array().into_iter().flatten() {
            after = line["seq"].as_u64().unwrap_or(after);
            let at = line["at"]
                .as_i64()
                .and_then(chrono::DateTime::from_timestamp_millis)
                .unwrap_or_default()
                .with_timezone(&chrono::Local);
            let flow = line["flow"].as_str().map_or_else(String::new, |flow| format!("{flow}: "));
            say(&format!("{} {:5} {flow}{}", at.format("%Y-%m-%d %H:%M:%S"), text_of(&line["level"]), text_of(&line["text"])))?;
        }
        if !args.follow {
            return Ok(());
        }
        lines = 1000;
        std::thread::sleep(Duration::from_millis(500));
    }
}
