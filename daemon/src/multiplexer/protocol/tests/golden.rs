//! The golden frames of `daemon/tests/frames`: a folder a protocol, each file with sections, `request` or `answer`, in which
//! every line is either bytes (hexadecimal, or text in quotes with `\r`, `\n`, `\t`, `\"` and `\\`) or a fact:
//!
//! | fact | says |
//! |---|---|
//! | (none of the next four) | the bytes are a frame |
//! | `is begun` | they are the beginning of one |
//! | `is whole at end`, `is whole after silence` | they are one when the sender closes, or pauses |
//! | `is wrong: …` | they are none, for this reason |
//! | `is no answer: …` | it is a frame, but no answer to the last request, for this reason |
//! | `has tag …`, `has body a..b` | what unwrapping it gives |
//! | `means read`, `means write` | the request's intent |
//! | `prompts` | the sender is prompted when it has sent the head |
//! | `then close`, `then keep open` | what follows the exchange |
//!
//! `#` begins a comment. An answer without a fact of the kind answers the last request of its file.

use std::path::{Path, PathBuf};

use super::super::{PROTOCOLS, Protocol, Side};

/// A section of a file.
#[derive(Debug)]
pub(super) struct Golden {
    /// Its file and line, for a failed test to name.
    pub(super) place: String,
    pub(super) side: Side,
    pub(super) bytes: Vec<u8>,
    pub(super) facts: Vec<String>,
}

impl Golden {
    /// What a fact says that begins so.
    pub(super) fn says(&self, fact: &str) -> Option<&str> {
        self.facts.iter().find_map(|line| line.strip_prefix(fact)).map(str::trim)
    }

    /// Whether its bytes are a frame.
    pub(super) fn is_frame(&self) -> bool {
        !["is begun", "is whole", "is wrong"].iter().any(|fact| self.says(fact).is_some())
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frames")
}

/// The files of a protocol, each with its sections.
pub(super) fn files(protocol: &dyn Protocol) -> Vec<(String, Vec<Golden>)> {
    let folder = root().join(protocol.name());
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|f| f.unwrap().path())
        .collect();
    paths.sort();
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (stem(path), read(path))).collect()
}

/// All protocols with all sections.
pub(super) fn all() -> impl Iterator<Item = (&'static dyn Protocol, Golden)> {
    PROTOCOLS
        .iter()
        .flat_map(|protocol| files(*protocol).into_iter().flat_map(|(_, all)| all).map(|golden| (*protocol, golden)))
}

fn read(path: &Path) -> Vec<Golden> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut all: Vec<Golden> = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        let place = format!("{}:{number}", path.display());
        match line {
            "" => {}
            _ if line.starts_with('#') => {}
            "request" => all.push(Golden { place, side: Side::Downstream, bytes: Vec::new(), facts: Vec::new() }),
            "answer" => all.push(Golden { place, side: Side::Upstream, bytes: Vec::new(), facts: Vec::new() }),
            _ => {
                let last = all.last_mut().unwrap_or_else(|| panic!("{place}: neither request nor answer"));
                if ["is ", "has ", "means ", "prompts", "then "].iter().any(|fact| line.starts_with(fact)) {
                    last.facts.push(line.to_owned());
                } else {
                    bytes(line, &place, &mut last.bytes);
                }
            }
        }
    }
    all
}

fn bytes(line: &str, place: &str, out: &mut Vec<u8>) {
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = text(&rest[1..], place, out);
        } else {
            let (word, others) = rest.split_once(' ').unwrap_or((rest, ""));
            out.push(u8::from_str_radix(word, 16).unwrap_or_else(|_| panic!("{place}: no byte: {word}")));
            rest = others.trim_start();
        }
    }
}

/// Reads a text up to its closing quote; returns what follows.
fn text<'a>(line: &'a str, place: &str, out: &mut Vec<u8>) -> &'a str {
    let mut chars = line.char_indices();
    while let Some((at, char)) = chars.next() {
        let char = match char {
            '"' => return line[at + 1..].trim_start(),
            '\\' => match chars.next() {
                Some((_, 'r')) => '\r',
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, char @ ('"' | '\\'))) => char,
                other => panic!("{place}: unknown escape {other:?}"),
            },
            char => char,
        };
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    panic!("{place}: a text without its end")
}
