//! Titles and descriptions in other languages, where the English text is the key; and what is said of errors.

mod phrase;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

static FRENCH: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../resources/i18n/fr.json")).unwrap_or_default());

pub use phrase::{phrase, translate_answer};

/// A language that texts for persons are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English, of which there is everything.
    #[default]
    English,
    /// French.
    French,
}

impl Language {
    /// The one that an `Accept-Language` header wants most, of those there are.
    pub fn wanted(header: &str) -> Self {
        let mut best = (Self::English, 0.0);
        for part in header.split(',') {
            let (range, weight) = part.split_once(';').unwrap_or((part, ""));
            let weight = weight.trim().strip_prefix("q=").map_or(1.0, |q| q.parse().unwrap_or(0.0));
            let name = range.trim().to_ascii_lowercase();
            let language = match name.split(['-', '_']).next() {
                Some("fr") => Self::French,
                Some("en") => Self::English,
                _ => continue,
            };
            if weight > best.1 {
                best = (language, weight);
            }
        }
        best.0
    }
}

/// The languages there are, English first.
pub static LANGUAGES: &[&str] = &["en", "fr"];

/// The text in a language (`fr`, `fr_FR`); English where there is no other.
pub fn text<'a>(english: &'a str, language: &str) -> &'a str {
    if !language.to_lowercase().starts_with("fr") {
        return english;
    }
    FRENCH.get(english).map_or(english, String::as_str)
}

/// Translates every `title` and `description` in a document.
pub fn translate(document: &mut Value, language: &str) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(|item| translate(item, language)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(english) if name == "title" || name == "description" => {
                        *english = text(english, language).to_owned();
                    }
                    other => translate(other, language),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::describe_kinds;

    fn texts(document: &Value, found: &mut Vec<String>) {
        match document {
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if name == "title" || name == "description" => found.push(text.clone()),
                        other => texts(other, found),
                    }
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_text_of_a_form_has_its_french_one() {
        let mut english = Vec::new();
        texts(&describe_kinds("en"), &mut english);
        assert!(english.len() > 30);
        let missing: Vec<_> = english.iter().filter(|e| !FRENCH.contains_key(*e)).collect();
        assert!(missing.is_empty(), "not in resources/i18n/fr.json: {missing:#?}");
        let unused: Vec<_> = FRENCH.keys().filter(|k| !english.contains(k)).collect();
        assert!(unused.is_empty(), "no longer used: {unused:#?}");
    }

    #[test]
    fn a_header_asks_for_the_language_with_most_weight() {
        for (header, wanted) in [
            ("fr", Language::French),
            ("fr-FR,fr;q=0.9,en;q=0.8", Language::French),
            ("fr_FR", Language::French),
            ("de, FR;q=0.5, en;q=0.4", Language::French),
            ("en-GB, fr;q=0.9", Language::English),
            ("fr;q=0, en;q=0.1", Language::English),
            ("fr;q=x", Language::English),
            ("de", Language::English),
            ("french", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::wanted(header), wanted, "{header}");
        }
    }

    #[test]
    fn french_is_asked_for_as_jeedom_does() {
        assert_eq!(text("Target", "fr_FR"), "Destination");
        assert_eq!(text("Target", "de_DE"), "Target");
    }
}
