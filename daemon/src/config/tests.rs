use super::*;

const GOOD: &str = r#"
[daemon]
listen = "127.0.0.1:0"
buffer_total = "8 MiB"

[flow.panel]
kind = "mirror"
listen = "[::]:10001"
target = "receiver.example:10001"
[[flow.panel.mirrors]]
address = "127.0.0.1:10002"
from_target = true

[flow.off]
kind = "mirror"
enabled = false
listen = "0.0.0.0:10003"
target = "receiver.example:10001"
mirrors = [{ address = "127.0.0.1:10002", buffer = "64 KiB" }]
"#;

#[test]
fn a_good_file_is_read() {
    let file = ConfigFile::parse(GOOD).unwrap();
    assert_eq!(file.daemon.buffer_total, Some(Bytes(8 << 20)));
    let flows: Vec<_> = file.flows.iter().map(|f| (f.id.as_str(), f.enabled)).collect();
    assert_eq!(flows, [("panel", true), ("off", false)]);
}

#[test]
fn all_errors_are_reported_with_their_places() {
    let bad = r#"
[daemon]
colour = "blue"
buffer_total = "lots"

[flow.panel]
kind = "mirror"
listen = "10001"
mirrors = [{ address = "127.0.0.1:10002", when_full = "explode" }, { addres = "x:1" }]
connect_timeout = "soon"

[flow.other]
kind = "mirrr"

[flows.x]
"#;
    let problems = ConfigFile::parse(bad).unwrap_err();
    let places: Vec<_> = problems.iter().map(|p| (p.at.0, p.item.as_str())).collect();
    assert_eq!(
        places,
        [
            (3, "daemon.colour"),
            (4, "daemon.buffer_total"),
            (6, "flow.panel.target"),
            (8, "flow.panel.listen"),
            (9, "flow.panel.mirrors.0.when_full"),
            (9, "flow.panel.mirrors.1.address"),
            (9, "flow.panel.mirrors.1.addres"),
            (10, "flow.panel.connect_timeout"),
            (13, "flow.other.kind"),
            (15, "flows"),
        ],
        "{problems:#?}"
    );
    assert!(problems.iter().all(|p| p.message.len() > 10));
}

#[test]
fn a_syntax_error_has_its_place() {
    let problems = ConfigFile::parse("[daemon]\nlisten = \n").unwrap_err();
    assert_eq!(problems.first().map(|p| p.at.0), Some(2), "{problems:?}");
}

#[test]
fn the_schema_describes_the_file() {
    let schema = file_schema();
    assert!(
        schema
            .pointer("/properties/flow/additionalProperties/oneOf/0/properties/kind/const")
            .is_some_and(|k| k == "mirror")
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = ConfigFile::parse(&text);
    }

    #[test]
    fn no_value_makes_it_panic(key in "[a-z_.]{1,12}", value in "\\PC{0,20}") {
        let _ = ConfigFile::parse(&format!("[flow.x]\nkind = \"mirror\"\n{key} = {value}"));
    }
}

#[test]
fn the_example_is_good() {
    assert_eq!(ConfigFile::parse(include_str!("../../../resources/example.toml")).unwrap().flows.len(), 3);
}
