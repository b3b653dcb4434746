//! The corpus of the fuzz target `protocol_frames` is the golden frames. `UPDATE_CORPUS=1` writes it anew.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::{PROTOCOLS, Side};
use super::golden;

/// Each file as the fuzz target reads it: what to choose, a seed, bytes.
fn corpus() -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    for (number, protocol) in PROTOCOLS.iter().enumerate() {
        for (stem, sections) in golden::files(*protocol) {
            for (side, name) in [(Side::Downstream, "request"), (Side::Upstream, "answer")] {
                let choice = number as u8 * 2 + u8::from(side == Side::Upstream);
                for (at, golden) in sections.iter().filter(|golden| golden.side == side).enumerate() {
                    let bytes = [&[choice, at as u8], golden.bytes.as_slice()].concat();
                    out.insert(format!("{}-{stem}-{name}-{at}", protocol.name()), bytes);
                }
            }
        }
    }
    out
}

#[test]
fn the_fuzz_corpus_is_the_golden_frames() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/protocol_frames");
    let corpus = corpus();
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in &corpus {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
    for (name, bytes) in corpus {
        let kept = std::fs::read(folder.join(&name)).unwrap_or_default();
        assert!(kept == bytes, "{name} is not in the corpus: UPDATE_CORPUS=1 cargo nextest run corpus");
    }
}
