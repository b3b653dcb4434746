//! Specs and data.

use serde_json::{Value, json};

/// A mirror on a free port of 127.0.0.1.
pub(crate) fn mirror(target: std::net::SocketAddr, mirrors: &[std::net::SocketAddr]) -> Value {
    let mirrors: Vec<_> = mirrors.iter().map(|address| json!({ "address": address })).collect();
    json!({"listen": "127.0.0.1:0", "target": target, "mirrors": mirrors})
}

/// A document with something changed.
pub(crate) trait Change {
    /// Sets the field at a JSON pointer.
    fn with(self, pointer: &str, value: impl serde::Serialize) -> Self;
    /// Takes the field at a JSON pointer out.
    fn without(self, pointer: &str) -> Self;
}

impl Change for Value {
    #[track_caller]
    fn with(mut self, pointer: &str, value: impl serde::Serialize) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match self.pointer_mut(parent) {
            Some(Value::Array(items)) => items[name.parse::<usize>().unwrap()] = json!(value),
            Some(Value::Object(fields)) => drop(fields.insert(name.to_owned(), json!(value))),
            _ => panic!("there is no {parent}"),
        }
        self
    }

    #[track_caller]
    fn without(mut self, pointer: &str) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        self.pointer_mut(parent).and_then(Value::as_object_mut).and_then(|fields| fields.remove(name)).unwrap();
        self
    }
}

/// A generator of numbers that are the same in every run.
pub(crate) struct Lcg(u64);

impl Lcg {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Bytes in which nothing can be lost, doubled or swapped without being seen: the period is a prime above a million.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Lcg::new(seed);
    let block: Vec<u8> = (0..len.min(1_000_003)).map(|_| numbers.below(256) as u8).collect();
    let mut data = Vec::with_capacity(len);
    while data.len() < len {
        data.extend_from_slice(&block[..block.len().min(len - data.len())]);
    }
    data
}
