//! How a secret is known: by the mark of its field's schema, by the name of its field, or by what stands before it.

use serde_json::Value;

use super::REDACTED;

/// Parts of names of fields that hold secrets.
const TELLING: [&str; 6] = ["password", "passwd", "passphrase", "token", "secret", "key"];

/// Whether a field with this name holds a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING.iter().any(|telling| name.contains(telling))
}

/// Whether a schema says that its value is a secret.
pub(super) fn is_marked(schema: &Value) -> bool {
    let is_true = |name| schema.get(name) == Some(&Value::Bool(true));
    is_true("x-secret") || is_true("writeOnly") || schema.get("format").and_then(Value::as_str) == Some("password")
}

/// A schema and all that it is made of at the same place.
pub(super) fn alternatives(schema: &Value) -> Vec<&Value> {
    let parts = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|name| schema.get(name)?.as_array()).flatten();
    std::iter::once(schema).chain(parts.flat_map(alternatives)).collect()
}

/// The schemas of a field.
pub(super) fn of_field<'a>(schemas: &[&'a Value], name: &str) -> Vec<&'a Value> {
    let own = |schema: &&'a Value| schema.get("properties").and_then(|p| p.get(name)).or_else(|| schema.get("additionalProperties"));
    schemas.iter().filter_map(own).flat_map(alternatives).collect()
}

/// The schemas of what a list has.
pub(super) fn of_items<'a>(schemas: &[&'a Value]) -> Vec<&'a Value> {
    schemas.iter().filter_map(|schema| schema.get("items")).flat_map(alternatives).collect()
}

/// `scheme://user:password@host` → the password.
pub(super) fn password_in_url(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@')?.0.split_once(':').map(|(_, password)| password)
}

/// Takes `user:password` out of each `scheme://user:password@host`.
pub(super) fn without_userinfo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>'))
            .unwrap_or(after.len());
        let (authority, path) = after.split_at(end);
        rest = match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(REDACTED);
                out.push('@');
                after.get(authority.len() - host.len()..).unwrap_or(path)
            }
            None => after,
        };
    }
    out + rest
}

/// Takes the value out of each `name=value` and `name: value` where the name tells, and out of `Bearer value`.
pub(super) fn without_assigned(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, word)) = next_word(rest) {
        let after_word = start + word.len();
        let (kept, after) = rest.split_at(after_word);
        out.push_str(kept);
        rest = after;
        let quoted = after.trim_start_matches(['"', '\'', '\\']);
        let value = match quoted.strip_prefix(['=', ':']) {
            Some(value) if is_secret_name(word) => value,
            _ if word.eq_ignore_ascii_case("bearer") && after.starts_with(' ') => after,
            _ => continue,
        };
        let value = value.trim_start_matches([' ', '"', '\'', '\\']);
        let end = value
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | ',' | ';' | '&' | '}' | ')'))
            .unwrap_or(value.len());
        if end == 0 || value.starts_with(REDACTED) {
            continue;
        }
        out.push_str(after.strip_suffix(value).unwrap_or_default());
        out.push_str(REDACTED);
        rest = value.get(end..).unwrap_or_default();
    }
    out + rest
}

/// The next run of letters, digits, `_` and `-`, and where it begins.
fn next_word(text: &str) -> Option<(usize, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let start = text.find(is_part)?;
    let word = text.get(start..)?;
    let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
    Some((start, word.get(..end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_and_others_do_not() {
        for name in ["password", "mqttPassword", "api_key", "TOKEN", "client-secret", "key"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["keepalive", "listen", "target", "buffer", ""] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn who_logs_in_by_a_url_is_not_told() {
        for (text, expected) in [
            ("to mqtt://me:it@broker:1883/x failed", "to mqtt://[redacted]@broker:1883/x failed"),
            ("http://me@a and http://b/c@d", "http://[redacted]@a and http://b/c@d"),
            ("\"https://u:p@ss@h\"", "\"https://[redacted]@h\""),
            ("no url", "no url"),
            ("ends with ://", "ends with ://"),
        ] {
            assert_eq!(without_userinfo(text), expected);
        }
        assert_eq!(password_in_url("mqtt://me:it@broker:1883/x"), Some("it"));
        assert_eq!(password_in_url("mqtt://broker:1883/a:b@c"), None);
    }

    #[test]
    fn what_is_assigned_to_a_telling_name_goes() {
        for (text, expected) in [
            ("password=abc rest", "password=[redacted] rest"),
            ("{\"api_key\": \"abc\", \"x\": 1}", "{\"api_key\": \"[redacted]\", \"x\": 1}"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
            ("token: abc, key=d&e=f", "token: [redacted], key=[redacted]&e=f"),
            ("the token is missing", "the token is missing"),
            ("mot-de-passé: ä", "mot-de-passé: ä"),
            ("secret=", "secret="),
        ] {
            assert_eq!(without_assigned(text), expected);
        }
    }
}
