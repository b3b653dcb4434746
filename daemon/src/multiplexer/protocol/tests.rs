//! The tests that every protocol must pass, fed with the golden frames.

mod corpus;
mod facts;
mod golden;
mod limits;
mod modbus;
mod random;

use super::{PROTOCOLS, find};

#[test]
fn protocols_are_found_by_name_and_alias() {
    for protocol in PROTOCOLS {
        assert_eq!(find(protocol.name()).unwrap().name(), protocol.name());
        assert!(!protocol.about().is_empty());
    }
    assert_eq!(find("line").unwrap().name(), "echo");
    assert!(find("Modbus").is_none());
    assert!(find("").is_none());
}

#[test]
fn every_client_can_afford_a_scan() {
    assert!(size_of::<super::Scan>() <= 16);
}
