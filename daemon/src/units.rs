//! Quantities as people write them: durations (`5`, `"500ms"`, `"2m"`) and sizes (`65536`, `"1 MiB"`).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The longest duration that a setting takes, in seconds: ten years.
const LONGEST: f64 = 10.0 * 365.0 * 86_400.0;

/// A duration, read from a number of seconds or from text with a unit (`ms`, `s`, `m`, `h`, `d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Seconds {
    /// A whole number of seconds.
    pub const fn new(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn from_f64(seconds: f64) -> Result<Self, String> {
        if seconds.is_finite() && (0.0..=LONGEST).contains(&seconds) {
            Ok(Self(Duration::from_secs_f64(seconds)))
        } else {
            Err(format!("{seconds} s is out of range: a duration is between 0 and 10 years"))
        }
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let scale = match unit.as_str() {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(format!("unknown unit in {text:?}: write a duration such as 5, \"500ms\", \"5s\", \"2m\" or \"1h\"")),
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("{text:?} is not a duration: write a number of seconds, or text such as \"500ms\", \"5s\", \"2m\" or \"1h\""))?;
        Self::from_f64(number * scale)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_nanos() == 0 { write!(f, "{} s", self.0.as_secs()) } else { write!(f, "{} ms", self.0.as_millis()) }
    }
}

/// A size in bytes, read from a number or from text with a unit (`KiB`, `MiB`, `GiB`; `kB`, `MB`, `GB` are thousands).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let scale: u64 = match unit.as_str() {
            "" | "b" => 1,
            "kb" => 1000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            _ => return Err(format!("unknown unit in {text:?}: write a size such as 65536, \"64 KiB\" or \"1 MiB\"")),
        };
        let wrong = || format!("{text:?} is not a size: write a number of bytes, or text such as \"64 KiB\" or \"1.5 MiB\"");
        let large = || format!("{text:?} is too large");
        if let Ok(number) = number.parse::<u64>() {
            return number.checked_mul(scale).map(Self).ok_or_else(large);
        }
        let number: f64 = number.parse().map_err(|_| wrong())?;
        if scale == 1 || !number.is_finite() || number < 0.0 {
            return Err(wrong());
        }
        let bytes = number * scale as f64;
        #[expect(clippy::cast_sign_loss, reason = "not negative, as just looked at")]
        if bytes < 1e15 { Ok(Self(bytes as u64)) } else { Err(large()) }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 >= 1 << shift {
                let unit_size = 1u64 << shift;
                return match self.0 % unit_size {
                    0 => write!(f, "{} {unit}", self.0 / unit_size),
                    _ => write!(f, "{:.1} {unit}", self.0 as f64 / unit_size as f64),
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// `"1.5 MiB"` → `("1.5", "mib")`.
fn split_unit(text: &str) -> (&str, String) {
    let text = text.trim();
    let at = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    (number.trim(), unit.to_lowercase())
}

/// Reads a number or a text into `T`; `WHAT` says what was expected.
struct Quantity<T>(&'static str, std::marker::PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        value.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity("a duration such as 5, \"500ms\" or \"2m\"", std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity("a size such as 65536 or \"1 MiB\"", std::marker::PhantomData))
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 { serializer.serialize_u64(self.0.as_secs()) } else { serializer.serialize_f64(self.0.as_secs_f64()) }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["number", "string"], "minimum": 0, "pattern": "^[0-9.]+ *(ms|s|m|min|h|d)?$", "x-unit": "s", "examples": [5]})
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+ *([kKmMgG]([iI]?[bB])?|[bB])?$", "x-unit": "B", "examples": [1_048_576]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(json: &str) -> Result<Seconds, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn durations_are_numbers_of_seconds_or_text_with_a_unit() {
        for (json, ms) in
            [("5", 5000), ("0.5", 500), ("\"500ms\"", 500), ("\"5s\"", 5000), ("\"2 m\"", 120_000), ("\"1h\"", 3_600_000), ("\"7\"", 7000)]
        {
            assert_eq!(seconds(json).map(|s| s.0), Ok(Duration::from_millis(ms)), "{json}");
        }
    }

    #[test]
    fn a_wrong_duration_says_what_to_write() {
        for json in ["-1", "\"soon\"", "\"5 parsecs\"", "true", "1e300", "\"\"", "null", "\"NaN\"", "\"inf\""] {
            let error = seconds(json).expect_err(json);
            assert!(error.contains("duration"), "{json}: {error}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_text_with_a_unit() {
        for (text, bytes) in [("65536", 65536), ("64 KiB", 65536), ("1MiB", 1 << 20), ("2 GB", 2_000_000_000), ("8k", 8192), ("1.5 MiB", 1_572_864)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["-1", "1.5", "-1.5 MiB", "nan kb", "much", "99999999999999999999", "20000000000 GiB", "1 furlong", ""] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_that_is_printed_can_be_read() {
        for bytes in [0, 1, 1023, 1024, 65536, 32 << 20, 1 << 30] {
            assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }
    }
}
