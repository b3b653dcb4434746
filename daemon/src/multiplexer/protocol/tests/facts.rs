//! What the golden files say of their frames, and that it does not depend on the pieces in which these come.

use super::super::audit::{self, LIMIT, Verdict, verdict};
use super::super::{After, Intent, PROTOCOLS, Protocol, Scan, Side, Split};
use super::golden::{self, Golden};

fn expected(golden: &Golden) -> Verdict {
    if let Some(why) = golden.says("is wrong:") {
        return Verdict::Wrong(why.to_owned());
    }
    if golden.is_frame() {
        return Verdict::Frame(golden.bytes.len());
    }
    Verdict::Begun(golden.says("is whole at end").is_some())
}

/// Every cut in two, and byte by byte.
fn in_pieces(protocol: &dyn Protocol, scan: Scan, golden: &Golden) {
    let (length, expected) = (golden.bytes.len(), expected(golden));
    for cut in 0..=length {
        assert_eq!(verdict(protocol, scan, &golden.bytes, [cut]), expected, "{} cut at {cut}", golden.place);
    }
    assert_eq!(verdict(protocol, scan, &golden.bytes, 0..length), expected, "{} byte by byte", golden.place);
}

fn facts(protocol: &dyn Protocol, golden: &Golden, request: &[u8]) -> Vec<u8> {
    let place = &golden.place;
    let unwrapped = protocol.unwrap(&golden.bytes).unwrap_or_else(|error| panic!("{place}: {error}"));
    let body = golden.bytes[unwrapped.body.clone()].to_vec();
    assert_eq!(unwrapped.tag.map(|tag| tag.to_string()).as_deref(), golden.says("has tag"), "{place}: the tag");
    if let Some(range) = golden.says("has body") {
        assert_eq!(format!("{:?}", unwrapped.body), range, "{place}: the body");
    }
    if protocol.name() != "http" {
        let mut again = Vec::new();
        protocol.wrap(unwrapped.tag.unwrap_or_default(), &body, &mut again);
        assert_eq!(again, golden.bytes, "{place}: wrapped again");
    }
    if golden.side == Side::Downstream {
        let intent = if protocol.intent(&body) == Intent::Read { "read" } else { "write" };
        assert_eq!(golden.says("means").unwrap_or(intent), intent, "{place}: the intent");
    } else {
        let mismatch = protocol.mismatch(request, &body).map(|error| error.to_string());
        assert_eq!(mismatch.as_deref().filter(|_| !request.is_empty()), golden.says("is no answer:"), "{place}");
        let after = if protocol.after(request, &body) == After::Close { "close" } else { "keep open" };
        assert_eq!(golden.says("then").unwrap_or(after), after, "{place}: what follows");
    }
    body
}

fn prompts(protocol: &dyn Protocol, golden: &Golden) {
    let mut scan = Scan::new(golden.side);
    let mut prompts = Vec::new();
    for end in 0..=golden.bytes.len() {
        if let Ok(Split::Prompt(prompt)) = protocol.split(&golden.bytes[..end], &mut scan, protocol.most(LIMIT)) {
            prompts.push((end, prompt));
        }
    }
    assert_eq!(prompts.len(), usize::from(golden.says("prompts").is_some()), "{}: {prompts:?}", golden.place);
    for (end, prompt) in prompts {
        assert!(golden.bytes[..end].ends_with(b"\r\n\r\n"), "{}: after {end} bytes", golden.place);
        assert_eq!(prompt, b"HTTP/1.1 100 Continue\r\n\r\n");
    }
}

#[test]
fn golden_frames_are_what_their_files_say() {
    for protocol in PROTOCOLS {
        let files = golden::files(*protocol);
        assert!(files.iter().flat_map(|(_, all)| all).count() >= 6, "{} has few golden frames", protocol.name());
        for (_, sections) in files {
            let mut request = Vec::new();
            for golden in &sections {
                let scan = if golden.side == Side::Upstream { protocol.awaits(&request) } else { Scan::new(golden.side) };
                in_pieces(*protocol, scan, golden);
                prompts(*protocol, golden);
                let silence = protocol.is_whole_after_silence(&golden.bytes, &scan);
                let frame = protocol.name() == "modbus-rtu" && golden.is_frame();
                assert_eq!(silence, frame || golden.says("is whole after silence").is_some(), "{}: silence", golden.place);
                let whole = golden.is_frame() || golden.says("is whole").is_some();
                if whole {
                    let body = facts(*protocol, golden, &request);
                    if golden.side == Side::Downstream {
                        request = body;
                    }
                }
            }
        }
    }
}

#[test]
fn frames_follow_each_other_without_a_gap() {
    for protocol in PROTOCOLS {
        for side in [Side::Downstream, Side::Upstream] {
            let files = golden::files(*protocol);
            let mut frames: Vec<_> = files.into_iter().flat_map(|(_, all)| all).filter(|one| one.side == side && one.is_frame()).collect();
            // Answers to HEAD are known by their request only; frames that have only their CRC, by what follows.
            frames.retain(|golden| !golden.place.contains("head-answers"));
            frames.retain(|golden| protocol.name() != "modbus-rtu-tcp" || !["vendor", "diagnostics"].iter().any(|name| golden.place.contains(name)));
            let all: Vec<u8> = frames.iter().flat_map(|golden| golden.bytes.clone()).collect();
            let mut rest = all.as_slice();
            for golden in frames {
                let scan = Scan::new(side);
                assert_eq!(verdict(*protocol, scan, rest, []), Verdict::Frame(golden.bytes.len()), "{}", golden.place);
                assert_eq!(verdict(*protocol, scan, rest, 0..rest.len()), Verdict::Frame(golden.bytes.len()), "{}", golden.place);
                rest = &rest[golden.bytes.len()..];
            }
            assert!(rest.is_empty());
        }
    }
}

#[test]
fn half_a_golden_frame_is_none() {
    for (protocol, golden) in golden::all().filter(|(_, golden)| golden.is_frame()) {
        let scan = Scan::new(golden.side);
        for end in 0..golden.bytes.len() {
            let part = verdict(protocol, scan, &golden.bytes[..end], []);
            let until_close = protocol.name() == "http" && golden.place.contains("head-answers");
            assert!(matches!(part, Verdict::Begun(whole) if !whole || until_close), "{} cut at {end}: {part:?}", golden.place);
        }
    }
}

#[test]
fn golden_frames_keep_all_promises() {
    for (protocol, golden) in golden::all() {
        audit::stream(protocol, golden.side, &golden.bytes, 3);
    }
}
