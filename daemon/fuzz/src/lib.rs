//! How the targets that read text change it. Bytes that are changed at random are seldom a document any more, and hardly
//! ever one with another value; words are.

use fastrand::Rng;
use serde_json::Value;

/// Values at which something may break, in the forms that documents have them.
static EDGES: &[&str] = &[
    "0",
    "1",
    "-1",
    "-0.0",
    "0.1",
    "1e308",
    "65535",
    "65536",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999",
    "inf",
    "nan",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "é",
    "\u{202e}",
    "/",
    "~",
    ":",
    ".",
    "::1",
    "localhost",
    "/128",
    "127.0.0.1:0",
    "[::]:65536",
    "10.0.0.0/33",
    "18446744073709551615 GiB",
    "1e308 GiB",
    "99999999999999999999 d",
    "-1 ms",
    "0 s",
    "ms",
    "d",
    "KiB",
    "GiB",
    "KB",
];

/// Changes a document in place; the answer is its new length. One mutation in four is libFuzzer's own. JSON stays JSON in
/// most of the others, so that the methods behind the parser are reached as well.
pub fn by_words(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = fastrand::Rng::with_seed(seed.into());
    let text = match data.get(..size).map(str::from_utf8) {
        Some(Ok(text)) if !text.is_empty() && random.u8(..4) > 0 => text,
        _ => return libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    };
    let text = match serde_json::from_str(text) {
        Ok(mut document) if random.u8(..3) > 0 => {
            (0..random.usize(1..=2)).for_each(|_| change(&mut document, &mut random));
            document.to_string()
        }
        _ => other_words(text, &mut random),
    };
    let length = text.len().min(max_size);
    data[..length].copy_from_slice(&text.as_bytes()[..length]);
    length
}

/// Changes one value somewhere in a document.
fn change(value: &mut Value, random: &mut Rng) {
    match value {
        Value::Object(fields) if !fields.is_empty() && random.u8(..8) > 0 => {
            let at = random.usize(..fields.len());
            let Some((name, field)) = fields.iter_mut().nth(at) else { return };
            match random.u8(..8) {
                0 => {
                    let name = name.clone();
                    fields.remove(&name);
                }
                1 => {
                    let field = field.clone();
                    fields.insert(EDGES[random.usize(..EDGES.len())].to_owned(), field);
                }
                _ => change(field, random),
            }
        }
        Value::Array(items) if !items.is_empty() && random.u8(..8) > 0 => {
            let at = random.usize(..items.len());
            match random.u8(..6) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => change(&mut items[at], random),
            }
        }
        Value::String(text) if !text.is_empty() && random.bool() => *text = other_words(text, random),
        other => {
            let edge = EDGES[random.usize(..EDGES.len())];
            *other = serde_json::from_str(edge).unwrap_or_else(|_| edge.into());
        }
    }
}

/// Removes, repeats, moves, cuts or replaces words of a text.
fn other_words(text: &str, random: &mut Rng) -> String {
    let mut words = words(text);
    for _ in 0..random.usize(1..=3) {
        if words.is_empty() {
            break;
        }
        let (at, to) = (random.usize(..words.len()), random.usize(..words.len()));
        match random.u8(..6) {
            0 => drop(words.drain(at..(at + random.usize(1..5)).min(words.len()))),
            1 => words.insert(to, words[at]),
            2 => words.swap(at, to),
            3 => {
                let cut = words[at].char_indices().map(|(i, _)| i).nth(random.usize(..=words[at].chars().count()));
                words[at] = &words[at][..cut.unwrap_or(words[at].len())];
            }
            4 => {
                let some = words[at..(at + random.usize(1..30)).min(words.len())].to_vec();
                words.splice(to..to, some);
            }
            _ => words[at] = EDGES[random.usize(..EDGES.len())],
        }
    }
    words.concat()
}

/// Names and numbers, and whatever else is there, one by one.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let number = first.is_ascii_digit();
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || number && matches!(c, '.' | '-' | '+');
        let length = if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (word, others) = rest.split_at(length);
        words.push(word);
        rest = others;
    }
    words
}
