//! Sets of small numbers as people write them: `3`, `"1,3-5"`. They name units, function codes and register addresses.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many ranges a set may have.
const MOST_RANGES: usize = 64;

/// Some numbers from 0 to 65535, as ranges with both ends in them. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(Vec<(u16, u16)>);

impl Ranges {
    /// Whether the number is one of them.
    pub fn contains(&self, number: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    /// Whether all numbers from `first` to `last` are in one of the ranges.
    pub fn covers(&self, first: u16, last: u16) -> bool {
        self.0.iter().any(|(from, to)| *from <= first && last <= *to)
    }

    /// The largest.
    pub fn largest(&self) -> u16 {
        self.0.iter().map(|(_, last)| *last).max().unwrap_or(0)
    }
}

impl FromStr for Ranges {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no set of numbers: write numbers and ranges from 0 to 65535, for example \"1,3-5\"");
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("{:?} is no range: the smaller number comes first", part.trim()));
            }
            if ranges.len() >= MOST_RANGES {
                return Err(format!("at most {MOST_RANGES} ranges are possible"));
            }
            ranges.push((first, last));
        }
        Ok(Self(ranges))
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
        }
        Ok(())
    }
}

struct NumberOrText;

impl Visitor<'_> for NumberOrText {
    type Value = Ranges;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers such as 3 or \"1,3-5\"")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Ranges, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Ranges, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ranges, E> {
        text.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText)
    }
}

impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Ranges {
    fn schema_name() -> Cow<'static, str> {
        "Ranges".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["integer", "string"], "minimum": 0, "maximum": 65535, "pattern": "^ *[0-9]+ *(- *[0-9]+ *)?(, *[0-9]+ *(- *[0-9]+ *)?)*$", "examples": ["1,3-5"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_read_and_print_the_same() {
        for (json, text) in [("3", "3"), ("\"3\"", "3"), ("\"1,3-5\"", "1,3-5"), ("\" 1 , 3 - 5 \"", "1,3-5"), ("\"0-65535\"", "0-65535")] {
            assert_eq!(serde_json::from_str::<Ranges>(json).map(|r| r.to_string()).ok().as_deref(), Some(text), "{json}");
        }
        let set: Ranges = "1,3-5".parse().unwrap();
        assert_eq!([0, 1, 2, 3, 5, 6].map(|n| set.contains(n)), [false, true, false, true, true, false]);
        assert!(set.covers(3, 5) && !set.covers(1, 3) && !set.covers(5, 6));
    }

    #[test]
    fn what_is_no_set_says_what_to_write() {
        for json in ["\"\"", "\"a\"", "\"5-3\"", "-1", "65536", "\"1,,2\"", "\"1-2-3\"", "true", "1.5"] {
            let error = serde_json::from_str::<Ranges>(json).unwrap_err().to_string();
            assert!(error.contains("range") || error.contains("numbers"), "{json}: {error}");
        }
        let many = (0..99).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert!(many.parse::<Ranges>().unwrap_err().contains("at most 64"));
    }
}
