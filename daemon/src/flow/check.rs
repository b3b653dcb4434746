//! Reading a spec, and finding all that is wrong with it at once.
//!
//! serde stops at the first error. To see the next one, the wrong value is replaced by an example from the schema
//! (or taken out, where the field is not required or not known), and the spec is read again.

use std::cell::OnceCell;
use std::fmt::{self, Write as _};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Spec;
use super::schema::schema_of;
use crate::text::printable;

/// How many errors are looked for before giving up.
const MOST_PROBLEMS: usize = 64;

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// Where: a JSON pointer, empty for the whole.
    pub pointer: String,
    /// What is wrong and what to write instead.
    pub message: String,
    /// Other places without which it would not be wrong.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) because_of: Vec<String>,
}

impl Problem {
    /// A problem at a JSON pointer.
    pub fn new(pointer: impl Into<String>, message: &str) -> Self {
        Self { pointer: pointer.into(), message: printable(message, 500), because_of: Vec::new() }
    }

    /// The same because of what another place says. Where that place is wrong by itself, this is no problem yet.
    #[must_use]
    pub fn because_of(mut self, pointer: impl Into<String>) -> Self {
        self.because_of.push(pointer.into());
        self
    }
}

/// Everything that is wrong with a document; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            let place = problem.pointer.trim_start_matches('/').replace('/', ".");
            if place.is_empty() { write!(f, "{separator}{}", problem.message)? } else { write!(f, "{separator}{place}: {}", problem.message)? }
        }
        Ok(())
    }
}

/// Reads a spec; the answer is the spec, or everything that is wrong with it.
pub fn read_spec<S: Spec>(document: &Value) -> Result<S, Problems> {
    read_all(document, S::check)
}

/// Reads a document; the answer is everything that is wrong with it, and with what it says (`check`).
pub(crate) fn read_all<T: DeserializeOwned + JsonSchema>(document: &Value, check: impl Fn(&T) -> Vec<Problem>) -> Result<T, Problems> {
    if !document.is_object() {
        return Err(Problems(vec![Problem::new("", "must be an object of fields")]));
    }
    let mut problems = Vec::new();
    let mut mended = document.clone();
    let schema = OnceCell::new();
    while problems.len() < MOST_PROBLEMS {
        match serde_path_to_error::deserialize::<_, T>(&mended) {
            Ok(read) => {
                // What is wrong with an example that stands in for a wrong value is no news.
                let as_written = |pointer: &String| document.pointer(pointer) == mended.pointer(pointer);
                let more = check(&read).into_iter();
                problems.extend(more.filter(|p| as_written(&p.pointer) && p.because_of.iter().all(as_written)));
                return if problems.is_empty() { Ok(read) } else { Err(Problems(problems)) };
            }
            Err(error) => {
                let (pointer, message) = explain(&error);
                let can_go_on = mend(&mut mended, schema.get_or_init(schema_of::<T>), &pointer);
                problems.push(Problem::new(pointer, &message));
                if !can_go_on {
                    break;
                }
            }
        }
    }
    Err(Problems(problems))
}

/// Reads any document of the API, such as a method's parameters; the answer is the first error.
pub(crate) fn read<T: DeserializeOwned>(document: &Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let (pointer, message) = explain(&error);
        Problem::new(pointer, &message)
    })
}

/// Where and what, in words for a person.
fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> (String, String) {
    let mut pointer = String::new();
    for segment in error.path() {
        use serde_path_to_error::Segment;
        match segment {
            Segment::Seq { index } => drop(write!(pointer, "/{index}")),
            Segment::Map { key } => drop(write!(pointer, "/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let text = error.inner().to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    let name_in = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.split('`').next()).map(str::to_owned);
    if let Some(name) = name_in("missing field `") {
        return (format!("{pointer}/{name}"), "is missing: it must be given".to_owned());
    }
    if let Some(name) = name_in("unknown field `") {
        if !pointer.ends_with(&format!("/{name}")) {
            let _ = write!(pointer, "/{name}");
        }
        let expected = text.split_once(", expected ").map_or("", |(_, e)| e).replace("one of ", "").replace('`', "");
        return (pointer, format!("is not a field here; these are: {expected}"));
    }
    if let Some(name) = name_in("unknown variant `") {
        let expected = text.split_once(", expected ").map_or("", |(_, e)| e).replace("one of ", "").replace('`', "\"");
        return (pointer, format!("{name:?} is not possible: write {expected}"));
    }
    (
        pointer,
        text.replace("invalid type: ", "has the wrong type: ").replace("invalid value: ", "has a wrong value: "),
    )
}

/// Makes the value at `pointer` readable. `false`: there is nothing more to try.
fn mend(document: &mut Value, schema: &Value, pointer: &str) -> bool {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    let example = schema_at(schema, pointer).and_then(|s| s.get("examples")?.get(0).or_else(|| s.get("default")).cloned());
    match document.pointer_mut(parent) {
        Some(Value::Object(fields)) => mend_field(fields, schema_at(schema, parent), name, example),
        Some(Value::Array(items)) => {
            let Some(item) = name.parse::<usize>().ok().and_then(|i| items.get_mut(i)) else { return false };
            // An example of a whole mirror, say, is the example of the list around it.
            let from_list = schema_at(schema, parent).and_then(|s| s.get("examples")?.get(0)?.get(0).cloned());
            let Some(example) = example.or(from_list).filter(|e| e != item) else { return false };
            *item = example;
            true
        }
        _ => false,
    }
}

fn mend_field(fields: &mut Map<String, Value>, schema: Option<&Value>, name: &str, example: Option<Value>) -> bool {
    let required = schema.and_then(|s| s.get("required")?.as_array()).is_some_and(|r| r.iter().any(|n| n == name));
    match example {
        Some(example) if required && fields.get(name) != Some(&example) => {
            fields.insert(name.to_owned(), example);
            true
        }
        _ => fields.remove(name).is_some(),
    }
}

/// The part of a schema that describes the value at a JSON pointer.
fn schema_at<'a>(schema: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(schema, |schema, name| {
        let part = |schema: &'a Value| if name.parse::<usize>().is_ok() { schema.get("items") } else { schema.get("properties")?.get(name) };
        // Of several forms that a value may have, one has such a part.
        part(schema).or_else(|| schema.get("anyOf")?.as_array()?.iter().find_map(part))
    })
}
