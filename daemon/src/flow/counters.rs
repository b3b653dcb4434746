//! The counters of a flow: one table a kind, one row of atomics a flow. The API, the plugins, `/metrics` and the
//! command line all read these.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things.
    None,
    /// Reads or writes of the relay. They are not the packets of the network.
    Packets,
    /// Bytes.
    Bytes,
    /// Microseconds.
    Microseconds,
}

/// One counter of a kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CounterDef {
    /// Its name in the API. It never changes, so that scenarios go on working.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Whether it also goes down: it says what is now, is not stored, and is not reset.
    pub gauge: bool,
    /// Its title for a person, in English.
    pub title: &'static str,
    /// Whether it is among the few that a host shows first.
    pub main: bool,
    /// Whether it is worth a history that nobody has asked for.
    pub history: bool,
}

/// Declares the counters of a kind: an enum `C` of their places, and the table `COUNTERS`.
macro_rules! counter_table {
    ($($variant:ident $name:literal $unit:ident $gauge:literal [$($mark:ident)*] $title:literal,)*) => {
        /// One counter of the kind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum C { $($variant,)* }

        /// The table of the kind's counters, in the order of their values.
        pub static COUNTERS: &[$crate::flow::CounterDef] = &[
            $($crate::flow::CounterDef {
                name: $name, unit: $crate::flow::Unit::$unit, gauge: $gauge, title: $title, main: false, history: false,
            }$(.$mark())*,)*
        ];
    };
}
pub(crate) use counter_table;

impl CounterDef {
    /// The same, as one that is shown first.
    #[must_use]
    pub const fn main(self) -> Self {
        Self { main: true, ..self }
    }

    /// The same, as one that is worth a history.
    #[must_use]
    pub const fn history(self) -> Self {
        Self { history: true, ..self }
    }
}

/// The values of a flow's counters, in the order of the kind's table.
#[derive(Debug)]
pub struct Counters {
    defs: &'static [CounterDef],
    values: Box<[AtomicU64]>,
}

/// Counter names and values, sorted by name.
pub type CounterValues = BTreeMap<String, u64>;

impl Counters {
    /// All zero.
    pub fn new(defs: &'static [CounterDef]) -> Self {
        Self { defs, values: defs.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    /// The kind's table.
    pub fn defs(&self) -> &'static [CounterDef] {
        self.defs
    }

    /// Adds to the counter with this place in the table.
    pub fn add(&self, place: usize, n: u64) {
        if let Some(value) = self.values.get(place) {
            value.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Takes from a gauge.
    pub fn sub(&self, place: usize, n: u64) {
        if let Some(value) = self.values.get(place) {
            value.fetch_sub(n, Ordering::Relaxed);
        }
    }

    /// Sets a gauge.
    pub fn set(&self, place: usize, n: u64) {
        if let Some(value) = self.values.get(place) {
            value.store(n, Ordering::Relaxed);
        }
    }

    /// Adds a whole row.
    pub fn add_all(&self, row: &[u64]) {
        for (value, n) in self.values.iter().zip(row) {
            if *n > 0 {
                value.fetch_add(*n, Ordering::Relaxed);
            }
        }
    }

    /// The value with this place in the table.
    pub fn get(&self, place: usize) -> u64 {
        self.values.get(place).map_or(0, |v| v.load(Ordering::Relaxed))
    }

    /// All values.
    pub fn values(&self) -> CounterValues {
        self.defs.iter().zip(&self.values).map(|(d, v)| (d.name.to_owned(), v.load(Ordering::Relaxed))).collect()
    }

    /// The values that outlive the daemon.
    pub fn lasting(&self) -> CounterValues {
        let lasting = self.defs.iter().zip(&self.values).filter(|(d, _)| !d.gauge);
        lasting.map(|(d, v)| (d.name.to_owned(), v.load(Ordering::Relaxed))).collect()
    }

    /// Adds stored values to what was counted since the start. Names that the table no longer has are passed over.
    pub fn restore(&self, stored: &CounterValues) {
        for (def, value) in self.defs.iter().zip(&self.values).filter(|(d, _)| !d.gauge) {
            value.fetch_add(stored.get(def.name).copied().unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Sets those that are named, but for the gauges. The answer is a name that the table does not have; then nothing is set.
    pub fn overwrite(&self, wanted: &CounterValues) -> Result<(), String> {
        if let Some(unknown) = wanted.keys().find(|name| self.defs.iter().all(|def| def.name != **name)) {
            return Err(unknown.clone());
        }
        for (def, value) in self.defs.iter().zip(&self.values).filter(|(d, _)| !d.gauge) {
            if let Some(wanted) = wanted.get(def.name) {
                value.store(*wanted, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Sets all but the gauges to zero.
    pub fn reset(&self) {
        for (_, value) in self.defs.iter().zip(&self.values).filter(|(d, _)| !d.gauge) {
            value.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static DEFS: &[CounterDef] = &[
        CounterDef { name: "seen", unit: Unit::None, gauge: false, title: "Seen", main: false, history: false },
        CounterDef { name: "now", unit: Unit::None, gauge: true, title: "Now", main: false, history: false },
    ];

    #[test]
    fn a_gauge_is_neither_stored_nor_reset() {
        let counters = Counters::new(DEFS);
        counters.add_all(&[3, 2]);
        assert_eq!(counters.lasting(), [("seen".to_owned(), 3)].into());
        counters.reset();
        assert_eq!(counters.values(), [("seen".to_owned(), 0), ("now".to_owned(), 2)].into());
        counters.restore(&[("seen".to_owned(), 7), ("now".to_owned(), 9), ("gone".to_owned(), 1)].into());
        assert_eq!((counters.get(0), counters.get(1)), (7, 2));
        assert_eq!(counters.overwrite(&[("seen".to_owned(), 4), ("now".to_owned(), 9)].into()), Ok(()));
        assert_eq!(counters.overwrite(&[("seen".to_owned(), 5), ("zzz".to_owned(), 1)].into()), Err("zzz".to_owned()));
        assert_eq!((counters.get(0), counters.get(1)), (4, 2));
    }
}
