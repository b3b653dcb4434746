//! The arguments that every benchmark takes.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) quick: bool,
    rounds: Option<usize>,
    pub(crate) json: Option<PathBuf>,
    /// For how long a round may wait for other work on the machine to end.
    pub(crate) wait: Duration,
    only: Vec<String>,
    /// What can be measured by itself; every other name is one who takes part.
    sections: &'static [&'static str],
}

impl Arguments {
    /// `names` are those who take part.
    pub(crate) fn parse(args: impl Iterator<Item = String>, sections: &'static [&'static str], names: &[&str]) -> Result<Self, String> {
        let mut all = Self { sections, ..Self::default() };
        let mut args = args;
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                // Cargo's own, to say that this is no test.
                "--bench" => {}
                "--quick" => all.quick = true,
                "--rounds" => all.rounds = Some(value()?.parse::<usize>().map_err(|e| format!("--rounds: {e}"))?),
                "--only" => all.only.extend(value()?.split(',').map(str::to_owned)),
                "--wait" => all.wait = Duration::from_secs(value()?.parse().map_err(|e| format!("--wait: {e}"))?),
                "--json" => all.json = Some(value()?.into()),
                other => return Err(format!("unknown argument {other}")),
            }
        }
        match all.only.iter().find(|name| !sections.contains(&name.as_str()) && !names.contains(&name.as_str())) {
            Some(name) => Err(format!("--only: there is no {name}")),
            None => Ok(all),
        }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 }).max(1)
    }

    /// No name of a section given, all of them are meant.
    pub(crate) fn measures(&self, section: &str) -> bool {
        let named = self.only.iter().any(|name| self.sections.contains(&name.as_str()));
        !named || self.only.iter().any(|name| name == section)
    }

    /// No contestant named, all of them are meant.
    pub(crate) fn includes(&self, contestant: &str) -> bool {
        let named = self.only.iter().any(|name| !self.sections.contains(&name.as_str()));
        !named || self.only.iter().any(|name| name == contestant)
    }
}
