//! What each Modbus unit was asked, for the status of the flow.

use serde_json::{Map, Value, json};

/// Counts by the number that clients use.
#[derive(Debug, Default)]
pub(super) struct Units(Vec<Unit>);

#[derive(Debug)]
struct Unit {
    number: u8,
    requests: u64,
    answers: u64,
    exceptions: u64,
    failures: u64,
}

impl Units {
    fn unit(&mut self, number: u8) -> Option<&mut Unit> {
        let place = match self.0.binary_search_by_key(&number, |unit| unit.number) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, Unit { number, requests: 0, answers: 0, exceptions: 0, failures: 0 });
                place
            }
        };
        self.0.get_mut(place)
    }

    pub(super) fn asked(&mut self, number: u8) {
        if let Some(unit) = self.unit(number) {
            unit.requests += 1;
        }
    }

    pub(super) fn answered(&mut self, number: u8, is_exception: bool) {
        if let Some(unit) = self.unit(number) {
            unit.answers += 1;
            unit.exceptions += u64::from(is_exception);
        }
    }

    pub(super) fn failed(&mut self, number: u8) {
        if let Some(unit) = self.unit(number) {
            unit.failures += 1;
        }
    }

    /// By unit: its requests, the answers of the device and the exceptions among them, and requests without an answer.
    pub(super) fn describe(&self) -> Value {
        let each = self.0.iter().map(|unit| {
            let counts = json!({"requests": unit.requests, "answers": unit.answers, "exceptions": unit.exceptions, "failures": unit.failures});
            (unit.number.to_string(), counts)
        });
        Value::Object(each.collect::<Map<_, _>>())
    }
}
