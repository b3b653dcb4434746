//! The documents that are kept in the repository are those that the binary prints.

use serde_json::Value;

use crate::support::*;

#[track_caller]
fn is_current(file: &str, what: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../resources").join(file);
    let advice = format!("run `domoflux schema {what} > resources/{file}` and look at the difference");
    let kept = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("resources/{file}: {error}; {advice}"));
    let (code, printed, _) = run(domoflux(["schema", what]));
    assert_eq!(code, 0);
    if kept == printed {
        return;
    }
    let (kept, printed): (Value, Value) = (serde_json::from_str(&kept).unwrap_or_default(), serde_json::from_str(&printed).unwrap());
    let place = first_difference(&kept, &printed, String::new()).unwrap_or_else(|| "its layout only".to_owned());
    panic!("resources/{file} is not what the binary says, the first difference is {place}; {advice}");
}

/// A JSON pointer to the first value that differs.
fn first_difference(one: &Value, other: &Value, pointer: String) -> Option<String> {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            names.into_iter().find_map(|name| {
                let place = format!("{pointer}/{name}");
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => first_difference(a, b, place),
                    _ => Some(place),
                }
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| first_difference(a, b, format!("{pointer}/{i}")))
        }
        (a, b) => (a != b).then_some(pointer),
    }
}

#[test]
fn the_document_of_the_api_is_current() {
    is_current("openrpc.json", "api");
}

#[test]
fn the_document_of_the_kinds_is_current() {
    is_current("kinds.json", "kinds");
}

#[test]
fn a_daemon_describes_its_api_as_the_command_line_does() {
    let daemon = Daemon::start();
    let (_, printed, _) = run(domoflux(["schema", "api"]));
    assert_eq!(daemon.call("rpc.discover", serde_json::json!({})).unwrap(), serde_json::from_str::<Value>(&printed).unwrap());
    let (_, printed, _) = run(domoflux(["kinds", "--json", "--language", "fr"]));
    assert_eq!(
        daemon.call("flow.kinds", serde_json::json!({"language": "fr"})).unwrap(),
        serde_json::from_str::<Value>(&printed).unwrap()
    );
}
