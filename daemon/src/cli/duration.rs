//! Durations on the command line: the project's forms, and those of Go's tools (`1m30s`, `1.5h`, `100us`).

use std::time::Duration;

use crate::units::Seconds;

/// Reads a duration.
pub(super) fn read(text: &str) -> Result<Seconds, String> {
    let text = text.trim();
    match text.parse() {
        Ok(seconds) => Ok(seconds),
        Err(ours) => of_go(text).and_then(|all| all.as_secs_f64().to_string().parse().ok()).ok_or(ours),
    }
}

/// Numbers with units, one after the other.
fn of_go(text: &str) -> Option<Duration> {
    let (mut rest, mut all) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        all = all.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_go_and_of_the_project_are_read() {
        for (text, ms) in [
            ("0", 0),
            ("5", 5000),
            ("1s", 1000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("1h1m1s500ms", 3_661_500),
            ("2000us", 2),
            (".5s", 500),
            ("2 m", 120_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(read(text).map(|s| s.0), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_what_to_write() {
        for text in ["", "soon", "1m30", "-1s", "1s-1s", "1.2.3s", "99999999h1s", "5 parsecs"] {
            assert!(read(text).expect_err(text).contains("duration"), "{text}");
        }
    }
}
