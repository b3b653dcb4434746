//! Any bytes, and golden frames with some of their bytes changed.

use proptest::prelude::*;

use super::super::PROTOCOLS;
use super::super::audit;
use super::golden;

/// So many, or as many as `PROPTEST_CASES` says.
fn cases(least: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(least), failure_persistence: None, ..default }
}

#[derive(Clone, Debug)]
enum Change {
    Replace(u8),
    Insert(u8),
    Remove,
    Double(u8),
    Swap,
}

fn change() -> impl Strategy<Value = (prop::sample::Index, Change)> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n :;,0129afgGH\0\xff".to_vec())];
    let kind = prop_oneof![
        byte.clone().prop_map(Change::Replace),
        byte.prop_map(Change::Insert),
        Just(Change::Remove),
        any::<u8>().prop_map(Change::Double),
        Just(Change::Swap),
    ];
    (any::<prop::sample::Index>(), kind)
}

fn changed(bytes: &[u8], changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for (at, change) in changes {
        if out.is_empty() {
            return out;
        }
        let at = at.index(out.len());
        match change {
            Change::Replace(byte) => out[at] = *byte,
            Change::Insert(byte) => out.insert(at, *byte),
            Change::Remove => drop(out.remove(at)),
            Change::Double(length) => {
                let end = out.len().min(at + usize::from(*length));
                out.splice(at..at, out[at..end].to_vec());
            }
            Change::Swap => {
                let other = (at + 1) % out.len();
                out.swap(at, other);
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn any_bytes(choice: u8, seed: u8, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        audit::any(choice, seed, &bytes);
    }

    #[test]
    fn nearly_right_bytes(choice: u8, seed: u8, bytes in prop::collection::vec(0_u8..24, 0..300)) {
        audit::any(choice, seed, &bytes);
    }
}

#[test]
fn golden_frames_with_changes() {
    let all: Vec<_> = golden::all().collect();
    let strategy = (
        prop::sample::select((0..all.len()).collect::<Vec<_>>()),
        prop::collection::vec(change(), 1..5),
        any::<u8>(),
        any::<bool>(),
    );
    let mut runner = proptest::test_runner::TestRunner::new(cases(6000));
    let ran = runner.run(&strategy, |(index, changes, seed, double)| {
        let (protocol, golden) = &all[index];
        let mut bytes = changed(&golden.bytes, &changes);
        if double {
            bytes.extend_from_slice(&golden.bytes);
        }
        let number = PROTOCOLS.iter().position(|one| one.name() == protocol.name()).unwrap() as u8;
        audit::any(number * 2 + u8::from(golden.side == super::super::Side::Upstream), seed, &bytes);
        Ok(())
    });
    ran.unwrap();
}
