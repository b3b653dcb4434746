//! On which processor a role runs.
//!
//! Two processes that send a small message to and fro are put on one processor by the scheduler in one run and on two
//! in the next, and the second takes ten times as long, as each message has to wake a processor. Latencies can be
//! compared only if the ends always sit apart; the proxy between them goes where the scheduler likes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Anywhere,
    First,
    Second,
}

impl Place {
    /// A command that runs `program` here.
    pub(crate) fn command(self, program: &Path) -> Command {
        let processor = match self {
            Self::First => "0",
            Self::Second => "1",
            Self::Anywhere => return Command::new(program),
        };
        if !can_place() {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", processor]).arg(program);
        command
    }
}

/// There may be one processor only, or others than the first two for this account.
fn can_place() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let on_each = ["0", "1"].iter().all(|processor| {
            let mut trial = Command::new("taskset");
            trial.args(["-c", processor, "true"]).stderr(Stdio::null());
            trial.status().is_ok_and(|status| status.success())
        });
        if !on_each {
            eprintln!("taskset can't use the first two processors: latencies will scatter");
        }
        on_each
    })
}
