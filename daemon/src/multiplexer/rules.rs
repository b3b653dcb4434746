//! What the spec says about a Modbus request: its unit's number, its device, whether it may be sent, how long it is kept.

use std::time::Duration;

use super::protocol::modbus::Ask;
use super::ranges::Ranges;
use super::spec::{MultiplexerSpec, ReadOnly};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    Deny,
    /// It is confirmed as if it had been carried out.
    Ignore,
}

/// The number by which the device knows a client's unit.
pub(super) fn device_unit(spec: &MultiplexerSpec, unit: u8) -> u8 {
    spec.unit_map.iter().find(|pair| pair.from == unit).map_or(unit, |pair| pair.to)
}

/// Which device has the unit: 0 is `target`, others are `routes`.
pub(super) fn lane_of(spec: &MultiplexerSpec, unit: u8) -> usize {
    spec.routes.iter().position(|route| route.units.contains(unit.into())).map_or(0, |route| route + 1)
}

/// Whether a request is sent. Its unit is the one that the device knows.
pub(super) fn verdict(spec: &MultiplexerSpec, ask: &Ask) -> Verdict {
    if !ask.writes || (spec.read_only == ReadOnly::No && spec.allow_writes.is_empty()) {
        return Verdict::Send;
    }
    let is_allowed = spec.allow_writes.iter().any(|rule| {
        names(rule.units.as_ref(), ask.unit.into())
            && names(rule.functions.as_ref(), ask.function.into())
            && rule
                .addresses
                .as_ref()
                .is_none_or(|addresses| ask.area.is_some_and(|area| covers(addresses, area.address, area.count)))
    });
    match spec.read_only {
        _ if is_allowed => Verdict::Send,
        ReadOnly::Ignore => Verdict::Ignore,
        ReadOnly::No | ReadOnly::Deny => Verdict::Deny,
    }
}

/// How long the answer to a read is kept; 0 is not at all.
pub(super) fn ttl(spec: &MultiplexerSpec, ask: &Ask) -> Duration {
    let Some(area) = ask.area else { return Duration::ZERO };
    let rule = spec.cache.iter().find(|rule| {
        names(rule.units.as_ref(), ask.unit.into())
            && names(rule.functions.as_ref(), ask.function.into())
            && rule.addresses.as_ref().is_none_or(|addresses| covers(addresses, area.address, area.count))
    });
    rule.map_or(Duration::ZERO, |rule| rule.ttl.0)
}

fn names(set: Option<&Ranges>, number: u16) -> bool {
    set.is_none_or(|set| set.contains(number))
}

fn covers(addresses: &Ranges, first: u16, count: u16) -> bool {
    let last = u32::from(first) + u32::from(count.max(1)) - 1;
    u16::try_from(last).is_ok_and(|last| addresses.covers(first, last))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::multiplexer::protocol::modbus;

    fn spec(more: &Value) -> MultiplexerSpec {
        let mut spec = json!({"listen": "127.0.0.1:0", "protocol": "modbus", "target": "127.0.0.1:1"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn of(spec: &MultiplexerSpec, body: &[u8]) -> Verdict {
        verdict(spec, &modbus::ask(body).unwrap())
    }

    const READ: [u8; 6] = [1, 3, 0, 0, 0, 2];
    const WRITE_100: [u8; 6] = [1, 6, 0, 100, 0, 7];
    const WRITE_99_TO_101: [u8; 13] = [1, 16, 0, 99, 0, 3, 6, 0, 1, 0, 2, 0, 3];

    #[test]
    fn without_rules_everything_is_sent() {
        let spec = spec(&json!({}));
        assert_eq!([&READ[..], &WRITE_100, &WRITE_99_TO_101, &[1, 99]].map(|b| of(&spec, b)), [Verdict::Send; 4]);
    }

    #[test]
    fn reads_are_sent_and_writes_that_no_rule_names_are_not() {
        use Verdict::{Deny, Ignore, Send};
        for (more, expected) in [
            (json!({"read_only": "deny"}), [Send, Deny, Deny, Deny]),
            (json!({"read_only": "ignore"}), [Send, Ignore, Ignore, Ignore]),
            (json!({"allow_writes": [{"addresses": "100"}]}), [Send, Send, Deny, Deny]),
            (json!({"allow_writes": [{"addresses": "98-101"}], "read_only": "ignore"}), [Send, Send, Send, Ignore]),
            (json!({"allow_writes": [{"functions": "16,99"}]}), [Send, Deny, Send, Send]),
            (json!({"allow_writes": [{"units": 2}, {"units": "1", "functions": 6}]}), [Send, Send, Deny, Deny]),
        ] {
            let spec = spec(&more);
            assert_eq!([&READ[..], &WRITE_100, &WRITE_99_TO_101, &[1, 99]].map(|b| of(&spec, b)), expected, "{more}");
        }
    }

    #[test]
    fn the_first_cache_rule_that_fits_counts() {
        let spec = spec(
            &json!({"cache": [{"ttl": 0, "addresses": "0"}, {"ttl": 5, "units": 1, "functions": 3, "addresses": "0-9"}, {"ttl": 1, "functions": 4}]}),
        );
        let ttl = |body: [u8; 6]| ttl(&spec, &modbus::ask(&body).unwrap()).as_secs();
        assert_eq!(ttl([1, 3, 0, 0, 0, 1]), 0);
        assert_eq!(ttl([1, 3, 0, 0, 0, 10]), 5);
        assert_eq!(ttl([1, 3, 0, 0, 0, 11]), 0);
        assert_eq!(ttl([1, 3, 0xff, 0xff, 0, 11]), 0);
        assert_eq!(ttl([2, 4, 0, 0, 0, 11]), 1);
    }

    #[test]
    fn units_are_renamed_and_routed() {
        let spec = spec(
            &json!({"unit_map": [{"from": 1, "to": 247}], "routes": [{"units": "2-4", "target": "127.0.0.1:2"}, {"units": "247", "target": "127.0.0.1:3"}]}),
        );
        assert_eq!([1, 2, 5].map(|unit| lane_of(&spec, device_unit(&spec, unit))), [2, 1, 0]);
    }
}
