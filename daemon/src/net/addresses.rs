//! One address, or several in the order in which they are tried.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Address;

/// How many addresses a list may have.
const MOST_ADDRESSES: usize = 8;

/// Whom to dial: one address, or a list that is tried in order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    all: Vec<Address>,
    /// It was written as a list, be it of one.
    listed: bool,
}

impl Addresses {
    /// All of them, in order.
    pub fn all(&self) -> &[Address] {
        &self.all
    }

    /// The JSON pointer, from its own place, to the address with this index.
    pub fn pointer(&self, index: usize) -> String {
        if self.listed { format!("/{index}") } else { String::new() }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.all.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

impl Serialize for Addresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.all.as_slice() {
            [one] if !self.listed => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Addresses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as receiver.example:10001, or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Addresses, E> {
        Ok(Addresses { all: vec![text.parse().map_err(E::custom)?], listed: false })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Addresses, A::Error> {
        let mut all = Vec::new();
        while let Some(address) = list.next_element()? {
            all.push(address);
        }
        // Only now, so that what is wrong with one of them is said at its own place.
        if all.len() > MOST_ADDRESSES {
            return Err(serde::de::Error::custom(format_args!("at most {MOST_ADDRESSES} addresses are possible")));
        }
        if all.is_empty() {
            return Err(serde::de::Error::custom("the list is empty: write at least one address, for example receiver.example:10001"));
        }
        Ok(Addresses { all, listed: true })
    }
}

impl JsonSchema for Addresses {
    fn schema_name() -> Cow<'static, str> {
        "Addresses".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = Address::json_schema(generator);
        json_schema!({
            "anyOf": [one.clone(), {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_ADDRESSES}],
            "examples": ["receiver.example:10001"],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_or_many_read_and_write_the_same() {
        for value in [json!("a.example:1"), json!(["a.example:1"]), json!(["a.example:1", "[::1]:2"])] {
            let read: Addresses = serde_json::from_value(value.clone()).expect("both are right");
            assert_eq!(serde_json::to_value(&read).expect("plain"), value);
        }
        let read: Addresses = serde_json::from_value(json!(["a.example:1", "b.example:2"])).expect("right");
        assert_eq!(read.to_string(), "a.example:1, b.example:2");
    }

    #[test]
    fn a_wrong_list_says_what_is_wrong() {
        for (value, word) in [
            (json!([]), "empty"),
            (json!(["a.example"]), "no port"),
            (json!(7), "a list of them"),
            (json!((0..9).map(|i| format!("a:{}", i + 1)).collect::<Vec<_>>()), "at most 8"),
        ] {
            let error = serde_json::from_value::<Addresses>(value.clone()).expect_err("wrong").to_string();
            assert!(error.contains(word), "{value}: {error}");
        }
    }
}
