//! What the daemon says of errors, in French. `resources/i18n/fr.errors.json` has templates: each `{}` stands for
//! something that may be a phrase itself, such as the reason of the operating system.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::Language;

/// Phrases in phrases in phrases are translated so deep. It also bounds the time that a text takes.
const DEEPEST: u8 = 3;

/// The file of templates.
#[derive(Default, Deserialize)]
struct File {
    /// Those of this program; a test finds each in its source.
    ours: HashMap<String, String>,
    /// Those of the operating system and of libraries, and what is put together of pieces.
    theirs: HashMap<String, String>,
}

static FILE: LazyLock<File> = LazyLock::new(|| serde_json::from_str(include_str!("../../../resources/i18n/fr.errors.json")).unwrap_or_default());

/// The templates with something to fill in, those with most text of their own first.
static TEMPLATES: LazyLock<Vec<Template>> = LazyLock::new(|| {
    let all = FILE.ours.iter().chain(&FILE.theirs).filter(|(english, _)| english.contains("{}"));
    let mut templates: Vec<Template> = all.map(|(english, french)| Template::new(english, french)).collect();
    templates.sort_by_key(|template| (std::cmp::Reverse(template.own), template.english.len(), template.english.first().copied()));
    templates
});

struct Template {
    /// What stands before, between and behind the placeholders.
    english: Vec<&'static str>,
    french: Vec<&'static str>,
    /// How much text it has of its own.
    own: usize,
}

impl Template {
    fn new(english: &'static str, french: &'static str) -> Self {
        let parts = english.split("{}").collect::<Vec<_>>();
        Self { own: parts.iter().map(|part| part.len()).sum(), english: parts, french: french.split("{}").collect() }
    }

    /// What fills the placeholders, if the text is of this form.
    fn fillings<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let (first, rest) = self.english.split_first()?;
        let (last, between) = rest.split_last()?;
        let mut text = text.strip_prefix(first)?.strip_suffix(last)?;
        let mut fillings = Vec::with_capacity(rest.len());
        for part in between {
            let (filling, behind) = text.split_once(part)?;
            fillings.push(filling);
            text = behind;
        }
        fillings.push(text);
        Some(fillings)
    }

    fn fill(&self, fillings: &[&str], depth: u8) -> String {
        let mut out = String::new();
        let mut fillings = fillings.iter();
        for (i, part) in self.french.iter().enumerate() {
            if i > 0
                && let Some(filling) = fillings.next()
            {
                out.push_str(&french(filling, depth).unwrap_or_else(|| (*filling).to_owned()));
            }
            out.push_str(part);
        }
        out
    }
}

/// What the daemon says of an error, in a language; English where there is no other.
pub fn phrase(text: &str, language: Language) -> String {
    match language {
        Language::French => french(text, DEEPEST).unwrap_or_else(|| text.to_owned()),
        Language::English => text.to_owned(),
    }
}

fn french(text: &str, depth: u8) -> Option<String> {
    if let Some(french) = FILE.ours.get(text).or_else(|| FILE.theirs.get(text)) {
        return Some(french.clone());
    }
    let depth = depth.checked_sub(1)?;
    let filled = TEMPLATES.iter().find_map(|template| Some(template.fill(&template.fillings(text)?, depth)));
    filled.or_else(|| of_places(text, depth)).or_else(|| of_addresses(text, depth))
}

/// `listen: is missing; target: is missing`, as several problems are said in one line.
fn of_places(text: &str, depth: u8) -> Option<String> {
    let mut pieces: Vec<String> = Vec::new();
    for piece in text.split("; ") {
        match piece.split_once(": ") {
            Some((place, _)) if is_place(place) => pieces.push(piece.to_owned()),
            _ => pieces.last_mut()?.extend(["; ", piece]),
        }
    }
    let translated = pieces.iter().map(|piece| {
        let (place, what) = piece.split_once(": ")?;
        Some(format!("{place}: {}", french(what, depth)?))
    });
    Some(translated.collect::<Option<Vec<_>>>()?.join("; "))
}

fn is_place(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// `192.0.2.1:80 connection refused, [::1]:80 no route to host`, as the attempts of a dial are said.
fn of_addresses(text: &str, depth: u8) -> Option<String> {
    let translated = text.split(", ").map(|part| {
        let (at, why) = part.split_once(' ')?;
        match at.parse::<SocketAddr>() {
            Ok(_) => Some(format!("{at} {}", french(why, depth)?)),
            Err(_) => french(part, depth),
        }
    });
    Some(translated.collect::<Option<Vec<_>>>()?.join(", "))
}

/// Translates what is for a person in a result of the API: what is wrong at a place, the error of a flow, the last
/// error. What people wrote, and the lines of the log, stay as they are.
pub fn translate_answer(answer: &mut Value, language: Language) {
    match answer {
        Value::Array(items) => items.iter_mut().for_each(|item| translate_answer(item, language)),
        Value::Object(fields) => {
            let said: &[&str] = match (fields.contains_key("pointer"), fields.contains_key("id")) {
                (true, _) => &["message", "text"],
                (_, true) => &["error"],
                _ => &[],
            };
            for (name, value) in fields {
                match value {
                    Value::String(text) if said.contains(&name.as_str()) => *text = phrase(text, language),
                    Value::Object(_) if name == "last_error" => translate_text(value, language),
                    Value::Array(troubles) if name == "troubles" => {
                        for trouble in troubles {
                            translate_text(trouble, language);
                        }
                    }
                    Value::Object(_) | Value::Array(_) if name != "spec" && name != "schema" => translate_answer(value, language),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn translate_text(said: &mut Value, language: Language) {
    if let Some(Value::String(text)) = said.get_mut("text") {
        *text = phrase(text, language);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn in_french(text: &str) -> String {
        phrase(text, Language::French)
    }

    #[test]
    fn phrases_are_translated_with_what_fills_them() {
        for (english, french) in [
            ("connection refused", "connexion refusée"),
            ("cannot listen on [::]:80: address already in use", "impossible d'écouter sur [::]:80 : adresse déjà utilisée"),
            (
                "cannot listen on 0.0.0.0:80: permission denied (ports below 1024 need the capability CAP_NET_BIND_SERVICE)",
                "impossible d'écouter sur 0.0.0.0:80 : permission refusée (les ports inférieurs à 1024 demandent la capacité CAP_NET_BIND_SERVICE)",
            ),
            (
                "cannot connect to a.example:1: 192.0.2.1:1 connection refused, [2001:db8::1]:1 no answer within 2.5 s",
                "connexion à a.example:1 impossible : 192.0.2.1:1 connexion refusée, [2001:db8::1]:1 aucune réponse en 2.5 s",
            ),
            (
                "target: cannot connect to 192.0.2.1:1: no route to host; client 192.0.2.2:5 is closed",
                "destination : connexion à 192.0.2.1:1 impossible : aucune route vers l'hôte ; le client 192.0.2.2:5 est fermé",
            ),
            ("spec.listen: is missing: it must be given; spec.colour: is not a field here; these are: listen, target", {
                "spec.listen: manque : ce champ est obligatoire; spec.colour: n'est pas un champ d'ici ; il existe : listen, target"
            }),
            ("target: is missing: it must be given; mirrors: is missing: it must be given", {
                "destination : manque : ce champ est obligatoire ; mirrors: manque : ce champ est obligatoire"
            }),
            ("has the wrong type: integer `1`, expected a string", "n'a pas le bon type : l'entier `1`, attendu : un texte"),
            ("nobody has translated this", "nobody has translated this"),
            ("", ""),
        ] {
            assert_eq!(in_french(english), french);
            assert_eq!(phrase(english, Language::English), english);
        }
    }

    #[test]
    fn the_template_with_most_text_of_its_own_is_taken() {
        assert_eq!(in_french("mirror: x; its connections are kept"), "miroir : x ; ses connexions sont gardées");
        assert_eq!(in_french("mirror: x"), "miroir : x");
    }

    #[test]
    fn each_translation_has_the_placeholders_of_its_template() {
        for (english, french) in FILE.ours.iter().chain(&FILE.theirs) {
            let places = |text: &str| text.matches("{}").count();
            // What comes last may be left out.
            assert!(places(french) <= places(english) && places(english) <= places(french) + 1, "{english}");
            assert!(!french.is_empty() && !english.contains("{}{}"), "{english}");
        }
        let twice: Vec<_> = FILE.ours.keys().filter(|english| FILE.theirs.contains_key(*english)).collect();
        assert!(twice.is_empty() && FILE.ours.len() > 90, "{twice:?}");
    }

    /// All of the source, with `{}` for every `{placeholder}`.
    fn source(dir: &Path, out: &mut String) {
        for entry in std::fs::read_dir(dir).expect("the source is here").flatten() {
            let path = entry.path();
            if path.is_dir() {
                source(&path, out);
            } else if path != Path::new(env!("CARGO_MANIFEST_DIR")).join("src/i18n/phrase.rs") {
                let text = std::fs::read_to_string(&path).expect("text").replace("\\\"", "\"");
                for (i, part) in text.split('{').enumerate() {
                    let placeholder = part.split_once('}').filter(|(inside, _)| !inside.contains(char::is_whitespace));
                    let (open, rest) = placeholder.map_or(("{", part), |(_, rest)| ("{}", rest));
                    out.push_str(if i == 0 { "" } else { open });
                    out.push_str(if i == 0 { part } else { rest });
                }
            }
        }
    }

    #[test]
    fn each_template_is_said_somewhere() {
        let mut all = String::new();
        source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        let unused: Vec<_> = FILE.ours.keys().filter(|english| !all.contains(english.as_str())).collect();
        assert!(unused.is_empty(), "no longer said, take them out of resources/i18n/fr.errors.json: {unused:#?}");
    }

    #[test]
    fn only_what_is_for_a_person_is_translated_in_an_answer() {
        let refused = "connection refused";
        let mut answer = json!([{
            "id": "a", "error": refused, "last_error": {"text": refused, "at": 1}, "text": refused, "spec": {"id": "x", "error": refused},
            "troubles": [{"text": refused, "at": 1}], "problems": [{"pointer": "/a", "message": refused}], "findings": [{"pointer": "/a", "text": refused}],
            "lines": [{"seq": 1, "text": refused, "error": refused}],
        }]);
        translate_answer(&mut answer, Language::French);
        let french = "connexion refusée";
        assert_eq!(
            answer,
            json!([{
                "id": "a", "error": french, "last_error": {"text": french, "at": 1}, "text": refused, "spec": {"id": "x", "error": refused},
                "troubles": [{"text": french, "at": 1}], "problems": [{"pointer": "/a", "message": french}], "findings": [{"pointer": "/a", "text": french}],
                "lines": [{"seq": 1, "text": refused, "error": refused}],
            }])
        );
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "[a-z{}\"`;:,.é0-9 ]{0,200}", tail in prop::sample::select(vec!["", ": connection refused", "; x: is missing"])) {
            in_french(&format!("{text}{tail}"));
            in_french(&format!("cannot connect to {text}{tail}"));
        }
    }
}
