//! What the figures are held against.

use serde_json::{Value, json};

use crate::table::digits;

/// A figure of domoflux with the floor it must not miss and the goal it is after.
pub(crate) struct Verdict {
    what: &'static str,
    value: f64,
    floor: f64,
    goal: Option<f64>,
    /// More is worse.
    at_most: bool,
    note: String,
}

impl Verdict {
    pub(crate) fn at_least(what: &'static str, value: f64, floor: f64, goal: Option<f64>) -> Self {
        Self { what, value, floor, goal, at_most: false, note: String::new() }
    }

    pub(crate) fn at_most(what: &'static str, value: f64, floor: f64, goal: Option<f64>) -> Self {
        Self { at_most: true, ..Self::at_least(what, value, floor, goal) }
    }

    pub(crate) fn with_note(mut self, note: String) -> Self {
        self.note = note;
        self
    }

    fn reaches(&self, bar: f64) -> bool {
        if self.at_most { self.value <= bar } else { self.value >= bar }
    }

    fn grade(&self) -> &'static str {
        match self.goal {
            _ if !self.reaches(self.floor) => "BELOW FLOOR",
            Some(goal) if self.reaches(goal) => "PASS, goal reached",
            Some(_) => "PASS, goal missed",
            None => "PASS",
        }
    }

    pub(crate) fn print(&self) {
        let sign = if self.at_most { "≤" } else { "≥" };
        let goal = self.goal.map_or(String::new(), |g| format!("goal {sign} {}", digits(g)));
        let floor = format!("floor {sign} {}", digits(self.floor));
        println!("  {:<47} {:>8}  {floor:<15}  {goal:<13}  {:<18}  {}", self.what, digits(self.value), self.grade(), self.note);
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "what": self.what, "value": self.value, "floor": self.floor, "goal": self.goal, "at_most": self.at_most,
            "grade": self.grade(), "note": self.note,
        })
    }
}
