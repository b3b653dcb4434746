//! What sharing a device needs to know of a Modbus body.

use super::super::modbus::{self, Area, Ask, Table};
use super::super::{Intent, PROTOCOLS, Refusal, crc, find};

fn area(table: Table, address: u16, count: u16) -> Area {
    Area { table, address, count }
}

#[test]
fn the_checksum_is_that_of_the_specification() {
    // Modbus over Serial Line V1.02, 6.2.2: 02 07 has the CRC 0x1241, sent as 41 12.
    assert_eq!(crc::of(&[2, 7]), 0x1241);
    assert!(crc::is_right(&[2, 7, 0x41, 0x12]));
    assert!(!crc::is_right(&[2, 7, 0x12, 0x41]));
    // The catalogue's check value (reveng, CRC-16/MODBUS).
    assert_eq!(crc::of(b"123456789"), 0x4b37);
    assert!(!crc::is_right(&[]) && !crc::is_right(&[0xff, 0xff]));
}

#[test]
fn a_request_says_what_it_reads_and_writes() {
    let cases: &[(&[u8], bool, Option<Area>)] = &[
        (&[1, 1, 0, 19, 0, 19], false, Some(area(Table::Coils, 19, 19))),
        (&[1, 2, 0, 0, 7, 0xd0], false, Some(area(Table::DiscreteInputs, 0, 2000))),
        (&[1, 2, 0, 0, 7, 0xd1], true, None),
        (&[1, 3, 0xff, 0xff, 0, 1], false, Some(area(Table::HoldingRegisters, 65535, 1))),
        (&[1, 3, 0xff, 0xff, 0, 2], true, None),
        (&[1, 3, 0, 0, 0, 126], true, None),
        (&[1, 4, 0, 8, 0, 1], false, Some(area(Table::InputRegisters, 8, 1))),
        (&[1, 4, 0, 8, 0, 1, 0], true, None),
        (&[1, 5, 0, 172, 0xff, 0], true, Some(area(Table::Coils, 172, 1))),
        (&[1, 6, 0, 1, 0], true, None),
        (&[1, 6, 0, 1, 0, 3], true, Some(area(Table::HoldingRegisters, 1, 1))),
        (&[1, 15, 0, 19, 0, 10, 2, 0xcd, 1], true, Some(area(Table::Coils, 19, 10))),
        (&[1, 15, 0, 19, 0, 10, 1, 0xcd], true, None),
        (&[1, 16, 0, 1, 0, 2, 4, 0, 10, 1, 2], true, Some(area(Table::HoldingRegisters, 1, 2))),
        // It says that it writes one register, and brings two.
        (&[1, 16, 0, 1, 0, 1, 4, 0, 10, 1, 2], true, None),
        (&[1, 16, 0, 1, 0, 2, 4, 0, 10, 1], true, None),
        (&[1, 16, 0, 1, 0, 0, 0], true, None),
        (&[1, 22, 0, 4, 0, 0xf2, 0, 0x25], true, Some(area(Table::HoldingRegisters, 4, 1))),
        (&[1, 23, 0, 3, 0, 6, 0, 14, 0, 1, 2, 0, 0xff], true, Some(area(Table::HoldingRegisters, 14, 1))),
        (&[1, 23, 0, 3, 0, 6, 0, 14, 0, 2, 2, 0, 0xff], true, None),
        (&[1, 17], false, None),
        (&[1, 17, 0], true, None),
        (&[1, 20, 7, 6, 0, 4, 0, 1, 0, 2], false, None),
        (&[1, 20, 6, 6, 0, 4, 0, 1, 0], true, None),
        (&[1, 24, 4, 0xde], true, None),
        (&[1, 43, 14, 1, 0], false, None),
        (&[1, 43, 13, 1, 0], true, None),
        (&[1, 0x41, 5, 1, 0], true, None),
        (&[1, 0x83, 2], true, None),
    ];
    for (body, writes, area) in cases {
        let expected = Ask { unit: 1, function: body[1], writes: *writes, area: *area };
        assert_eq!(modbus::ask(body), Some(expected), "{body:?}");
        assert_eq!(modbus::intent(body) == Intent::Write, *writes, "{body:?}");
    }
    assert_eq!((modbus::ask(&[]), modbus::ask(&[1])), (None, None));
    assert_eq!(modbus::intent(&[]), Intent::Write);
}

#[test]
fn a_write_is_confirmed_as_the_device_would() {
    let golden = |body: &[u8]| modbus::success(body);
    for repeated in [&[1, 5, 0, 172, 0xff, 0][..], &[1, 6, 0, 1, 0, 3], &[1, 22, 0, 4, 0, 0xf2, 0, 0x25]] {
        assert_eq!(golden(repeated).as_deref(), Some(repeated));
        assert_eq!(modbus::mismatch(repeated, repeated), None);
    }
    let registers = [1, 16, 0, 1, 0, 2, 4, 0, 10, 1, 2];
    assert_eq!(golden(&registers), Some(vec![1, 16, 0, 1, 0, 2]));
    assert_eq!(golden(&[1, 15, 0, 19, 0, 10, 2, 0xcd, 1]), Some(vec![1, 15, 0, 19, 0, 10]));
    assert_eq!(modbus::mismatch(&registers, &[1, 16, 0, 1, 0, 2]), None);
    for none in [&[][..], &[1], &[1, 3, 0, 1, 0, 2], &[1, 6, 0, 1], &[1, 16, 0, 1, 0, 2, 4, 0], &[1, 23, 0, 3, 0, 6, 0, 14, 0, 1, 2, 0, 0xff]] {
        assert_eq!(golden(none), None, "{none:?}");
    }
}

#[test]
fn a_refusal_is_an_exception() {
    let codes = [
        (Refusal::Silent, 0x0b),
        (Refusal::NoPath, 0x0a),
        (Refusal::Busy, 6),
        (Refusal::Denied, 1),
        (Refusal::Malformed, 3),
        (Refusal::BadAnswer, 4),
    ];
    for protocol in PROTOCOLS.iter().filter(|protocol| protocol.is_modbus()) {
        for (why, code) in codes {
            assert_eq!(protocol.refuse(&[9, 3, 0, 0, 0, 1], why), Some(vec![9, 0x83, code]));
        }
        assert_eq!(protocol.refuse(&[], Refusal::Malformed), None);
    }
    for opaque in ["echo", "iso8583", "mpu"] {
        assert_eq!(find(opaque).unwrap().refuse(b"x", Refusal::Silent), None);
    }
}

#[test]
fn whoever_is_there_may_answer_with_its_own_unit() {
    for unit in [0, 255] {
        assert_eq!(modbus::mismatch(&[unit, 3, 0, 0, 0, 1], &[7, 3, 2, 0, 0]), None);
    }
    assert!(modbus::mismatch(&[1, 3, 0, 0, 0, 1], &[7, 3, 2, 0, 0]).is_some());
}

#[test]
fn an_answer_has_as_many_bytes_as_were_asked_for() {
    let coils = [1, 1, 0, 0, 0, 9];
    assert_eq!(modbus::mismatch(&coils, &[1, 1, 2, 0, 0]), None);
    for wrong in [&[1, 1, 1, 0][..], &[1, 1, 2, 0], &[1, 1, 2, 0, 0, 0], &[1, 1], &[1, 0x81], &[1, 0x81, 2, 0], &[1], &[]] {
        assert!(modbus::mismatch(&coils, wrong).is_some(), "{wrong:?}");
    }
    assert_eq!(modbus::mismatch(&coils, &[1, 0x81, 2]), None);
    // So it is with registers that are read and written at once.
    let both = [1, 23, 0, 3, 0, 2, 0, 14, 0, 1, 2, 0, 0xff];
    assert_eq!(modbus::mismatch(&both, &[1, 23, 4, 0, 0, 0, 0]), None);
    assert!(modbus::mismatch(&both, &[1, 23, 2, 0, 0]).is_some());
    // What a vendor answers is the vendor's.
    assert_eq!(modbus::mismatch(&[1, 0x41, 5], &[1, 0x41]), None);
}
