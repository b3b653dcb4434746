//! Values of the multiplexer's options: what a person writes in a word, as the fields of a spec.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Map, Value, json};

use crate::cli::duration;
use crate::net::{Address, ListenAddress};

/// The fields of a rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cli) struct Fields(pub(in crate::cli) Map<String, Value>);

/// The fields of an allowed write.
pub(super) const ALLOWED_WRITE: &[&str] = &["units", "functions", "addresses"];

/// Whom to dial. As in Go, a port alone means this machine.
pub(in crate::cli) fn target(text: &str) -> Result<Address, String> {
    if text.starts_with(':') { format!("127.0.0.1{text}").parse() } else { text.parse() }
}

/// Where to listen. As in Go, a port alone means all addresses of this machine, those of IPv6 if it has any.
pub(in crate::cli) fn listen(text: &str) -> Result<ListenAddress, String> {
    let port = text.trim().strip_prefix(':').unwrap_or(text.trim());
    if port.is_empty() || !port.chars().all(|c| c.is_ascii_digit()) {
        return text.parse();
    }
    let port = port.parse().map_err(|_| format!("{text:?} is not a port: a port is a number from 1 to 65535"))?;
    Ok(ListenAddress(SocketAddr::new(any_address(), port)))
}

fn any_address() -> IpAddr {
    let any = Ipv6Addr::UNSPECIFIED;
    if std::net::UdpSocket::bind((any, 0)).is_ok() { any.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// `units=1,functions=6,16`: a part without `=` goes on with the set before it. `first` is the field of a first part that has none.
pub(super) fn fields(text: &str, known: &[&str], first: Option<&str>) -> Result<Fields, String> {
    let names = known.join("=…,");
    let wrong = |part: &str| format!("{part:?} is none of its fields: write {names}=…, each at most once");
    let mut found: Vec<(&str, String)> = Vec::new();
    for part in text.split(',').map(str::trim) {
        match (part.split_once('='), found.last_mut(), first) {
            (Some((name, value)), _, _) => {
                let name = name.trim();
                if !known.contains(&name) || found.iter().any(|(earlier, _)| *earlier == name) {
                    return Err(wrong(name));
                }
                found.push((name, value.trim().to_owned()));
            }
            (None, Some((_, value)), _) => {
                value.push(',');
                value.push_str(part);
            }
            (None, None, Some(name)) => found.push((name, part.to_owned())),
            (None, None, None) => return Err(wrong(part)),
        }
    }
    Ok(Fields(found.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()))
}

/// `1s`, or `ttl=1s,units=1,functions=3,addresses=0-99`.
pub(super) fn cache(text: &str) -> Result<Fields, String> {
    let Fields(mut rule) = fields(text, &["ttl", "units", "functions", "addresses"], Some("ttl"))?;
    let ttl = rule
        .get("ttl")
        .and_then(Value::as_str)
        .ok_or("how long an answer is kept is missing: write ttl=1s, for example")?;
    let ttl = duration::read(ttl)?;
    rule.insert("ttl".to_owned(), json!(ttl));
    Ok(Fields(rule))
}

/// `unit=1,function=3,address=0,count=1`.
pub(super) fn probe(text: &str) -> Result<Fields, String> {
    let Fields(read) = fields(text, &["unit", "function", "address", "count"], None)?;
    if !read.contains_key("address") {
        return Err("the address is missing: write address=0, for example".to_owned());
    }
    let number = |(name, value): (String, Value)| match value.as_str().and_then(|text| text.parse::<u16>().ok()) {
        Some(number) => Ok((name, json!(number))),
        None => Err(format!("{name}={} is not a number", value.as_str().unwrap_or_default())),
    };
    Ok(Fields(read.into_iter().map(number).collect::<Result<_, String>>()?))
}

/// `1=247`: the number that clients use, and that of the device.
pub(super) fn unit(text: &str) -> Result<Fields, String> {
    let pair = text
        .split_once('=')
        .and_then(|(from, to)| Some((from.trim().parse::<u8>().ok()?, to.trim().parse::<u8>().ok()?)));
    let (from, to) = pair.ok_or_else(|| format!("{text:?} is no pair of units: write the clients' number and the device's, for example 1=247"))?;
    Ok(Fields([("from".to_owned(), json!(from)), ("to".to_owned(), json!(to))].into_iter().collect()))
}

/// `2-4=host:port`; several devices, which are tried in order, have commas between them.
pub(super) fn route(text: &str) -> Result<Fields, String> {
    let wrong = || format!("{text:?} is no route: write units and their device, for example 2-4=192.168.1.23:502");
    let (units, to) = text.split_once('=').ok_or_else(wrong)?;
    let to: Vec<Address> = to.split(',').map(target).collect::<Result<_, _>>()?;
    let to = if let [only] = to.as_slice() { json!(only) } else { json!(to) };
    Ok(Fields([("units".to_owned(), json!(units.trim())), ("target".to_owned(), to)].into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(read: Result<Fields, String>, expected: Value) {
        assert_eq!(read.map(|fields| Value::Object(fields.0)), Ok(expected));
    }

    #[test]
    fn a_port_alone_is_every_address_of_the_machine() {
        for text in ["8000", ":8000", " 8000"] {
            let at = listen(text).unwrap().0;
            assert!(at.ip().is_unspecified() && at.port() == 8000, "{at}");
        }
        assert_eq!(listen("127.0.0.1:502").unwrap().to_string(), "127.0.0.1:502");
        for text in ["", ":", "80000", "http", "-1"] {
            assert!(listen(text).is_err(), "{text}");
        }
        assert_eq!(target(":1502").unwrap().to_string(), "127.0.0.1:1502");
    }

    #[test]
    fn rules_are_fields_with_commas_in_their_sets() {
        is(
            fields("units=1,functions=6,16,addresses=100-120", ALLOWED_WRITE, None),
            json!({"units": "1", "functions": "6,16", "addresses": "100-120"}),
        );
        is(cache("500ms"), json!({"ttl": 0.5}));
        is(cache("1s, units = 1,3-5"), json!({"ttl": 1, "units": "1,3-5"}));
        is(cache("units=1,ttl=1m30s"), json!({"units": "1", "ttl": 90}));
        is(probe("unit=1,function=3,address=0,count=1"), json!({"unit": 1, "function": 3, "address": 0, "count": 1}));
        is(unit("1=247"), json!({"from": 1, "to": 247}));
        is(route("2-4=a:502"), json!({"units": "2-4", "target": "a:502"}));
        is(route("2,4=a:502,b:502"), json!({"units": "2,4", "target": ["a:502", "b:502"]}));
    }

    #[test]
    fn a_wrong_rule_says_what_to_write() {
        for (read, word) in [
            (fields("unit=1", ALLOWED_WRITE, None), "units=…,functions=…,addresses=…"),
            (fields("units=1,units=2", ALLOWED_WRITE, None), "at most once"),
            (fields("6", ALLOWED_WRITE, None), "none of its fields"),
            (cache("units=1"), "ttl=1s"),
            (cache("soon"), "write a duration"),
            (probe("unit=1"), "address=0"),
            (probe("address=x"), "not a number"),
            (unit("1"), "1=247"),
            (unit("1=256"), "1=247"),
            (route("2-4"), "2-4="),
            (route("2-4=host"), "no port"),
        ] {
            let error = read.expect_err(word);
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
