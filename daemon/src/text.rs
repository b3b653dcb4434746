//! Texts that a person reads: reasons of the operating system, and strings that a peer supplied.

use std::fmt::Write as _;
use std::io;

/// The operating system's reason in the project's style: lower case, without `(os error N)`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "unknown reason".to_owned(),
    }
}

/// A string from outside, safe for a log line or a terminal: control characters are escaped, the length is bounded.
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        if out.len() >= limit {
            out.push('…');
            break;
        }
        // The bidirectional controls can make a line read as another one.
        if c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The time since the Unix epoch in milliseconds, as every timestamp of the API has it.
pub fn unix_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_lower_case_and_without_a_number() {
        assert_eq!(reason(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(reason(&io::Error::other("Plain")), "plain");
    }

    #[test]
    fn what_a_peer_sends_cannot_break_a_line() {
        assert_eq!(printable("a\nb\u{1b}[31m\u{202e}", 80), "a\\nb\\u{1b}[31m\\u{202e}");
        assert_eq!(printable("abcdef", 3), "abc…");
    }
}
