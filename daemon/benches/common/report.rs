//! What a run gathers, and how it ends.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::arguments::Arguments;
use super::load::{self, Load, Others};
use super::table::Table;
use super::verdict::Verdict;

#[derive(Default)]
pub(crate) struct Report {
    /// What else went on in each round.
    others: Vec<Others>,
    /// Bytes or answers that were wrong or lost, and what did not run at all.
    faults: Vec<String>,
    pub(crate) verdicts: Vec<Verdict>,
    json: Map<String, Value>,
}

impl Report {
    /// Says at once what went wrong, and again at the end.
    pub(crate) fn fail(&mut self, fault: String) {
        eprintln!("FAIL {fault}");
        self.faults.push(fault);
    }

    /// Takes `rounds` rounds, each when other work pauses.
    pub(crate) fn each_round(&mut self, section: &str, rounds: usize, arguments: &Arguments, mut take: impl FnMut(&mut Self, usize)) {
        for round in 0..rounds {
            load::wait_until_quiet(arguments.wait);
            let load = Load::now();
            take(self, round);
            let others = load.others();
            eprintln!("{section}, round {} of {rounds}: {}", round + 1, others.say());
            self.others.push(others);
        }
    }

    pub(crate) fn print(&mut self, section: &str, table: &Table) {
        table.print();
        self.json.insert(section.to_owned(), table.json());
    }

    /// Says all of it, and writes it to `path`.
    pub(crate) fn conclude(mut self, path: Option<&Path>) -> ExitCode {
        if !self.verdicts.is_empty() {
            println!("\ndomoflux");
            self.verdicts.iter().for_each(Verdict::print);
        }
        let disturbed = self.others.iter().filter(|others| !others.is_quiet()).count();
        if disturbed > 0 {
            println!("\n{disturbed} of {} rounds were disturbed by other work on this machine; see --wait.", self.others.len());
        }
        self.json.insert("other_work".to_owned(), self.others.iter().map(|others| others.here).collect());
        for fault in &self.faults {
            println!("FAIL {fault}");
        }
        let failed = !self.faults.is_empty();
        self.json.insert("verdicts".to_owned(), self.verdicts.iter().map(Verdict::json).collect());
        self.json.insert("faults".to_owned(), json!(self.faults));
        if let Some(path) = path
            && let Err(error) = std::fs::write(path, format!("{:#}\n", Value::Object(self.json)))
        {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
