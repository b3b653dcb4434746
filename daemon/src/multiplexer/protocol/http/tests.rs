use super::super::audit::{Verdict, verdict};
use super::super::find;
use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: device\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: device\r\n\r\n";

fn split(side: Side, bytes: &[u8], most: usize) -> Result<Split, String> {
    Http.split(bytes, &mut Scan::new(side), most).map_err(|error| error.to_string())
}

#[test]
fn a_refusal_is_a_whole_answer() {
    let statuses = [
        (Refusal::Silent, "504"),
        (Refusal::NoPath, "502"),
        (Refusal::BadAnswer, "502"),
        (Refusal::Busy, "503"),
        (Refusal::Denied, "403"),
        (Refusal::Malformed, "400"),
    ];
    for (why, status) in statuses {
        let answer = String::from_utf8(Http.refuse(GET, why).unwrap()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("\r\nContent-Type: text/plain\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
        assert!(body.ends_with('\n') && body.lines().count() == 1, "{body:?}");
        assert_eq!(head.contains("Retry-After: 1"), why == Refusal::Busy);
        assert_eq!(head.contains("Connection: close"), why == Refusal::Malformed);
        let closes = if why == Refusal::Malformed { After::Close } else { After::KeepOpen };
        assert_eq!(Http.after(GET, answer.as_bytes()), closes);
        assert_eq!(Http.after(b"", answer.as_bytes()), After::Close);
        // To HEAD it says as much, and brings nothing.
        assert_eq!(Http.refuse(HEAD, why).unwrap(), format!("{head}\r\n\r\n").into_bytes());
    }
    assert!(Http.refuse(b"", Refusal::Malformed).is_some());
}

#[test]
fn a_head_has_a_limit_of_its_own() {
    let longest = |more: usize| {
        let line = "GET / HTTP/1.1\r\nX: ";
        format!("{line}{}\r\n\r\n", "x".repeat(HEAD_MOST - line.len() - 4 + more))
    };
    assert_eq!(split(Side::Downstream, longest(0).as_bytes(), 1 << 20), Ok(Split::Frame(HEAD_MOST)));
    let error = split(Side::Downstream, longest(1).as_bytes(), 1 << 20).unwrap_err();
    assert_eq!(error, "a head is longer than 65536 bytes");
    let error = split(Side::Downstream, longest(0).as_bytes(), 1000).unwrap_err();
    assert_eq!(error, "a message is longer than 1000 bytes");
}

#[test]
fn a_head_has_so_many_fields_and_no_more() {
    let with = |fields: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(fields));
    assert_eq!(split(Side::Downstream, with(128).as_bytes(), 1 << 20), Ok(Split::Frame(with(128).len())));
    assert_eq!(split(Side::Downstream, with(129).as_bytes(), 1 << 20).unwrap_err(), "a head has more than 128 fields");
}

#[test]
fn a_message_fits_the_limit_to_the_byte() {
    let head = "HTTP/1.1 200 OK\r\n";
    let counted = format!("{head}Content-Length: 5\r\n\r\nhello");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    for message in [&counted, &chunked] {
        assert_eq!(split(Side::Upstream, message.as_bytes(), message.len()), Ok(Split::Frame(message.len())));
        assert!(split(Side::Upstream, message.as_bytes(), message.len() - 1).is_err());
    }
    let until_close = format!("{head}\r\nhello");
    assert_eq!(split(Side::Upstream, until_close.as_bytes(), until_close.len()), Ok(Split::More));
    assert!(split(Side::Upstream, until_close.as_bytes(), until_close.len() - 1).is_err());
}

#[test]
fn requests_that_come_at_once_are_told_apart() {
    let post = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n";
    let mut rest = [GET, post, HEAD].concat();
    for expected in [GET, post, HEAD] {
        let Ok(Split::Frame(end)) = split(Side::Downstream, &rest, 4096) else { panic!("{rest:?}") };
        assert_eq!(&rest[..end], expected);
        rest.drain(..end);
    }
}

#[test]
fn an_empty_line_before_a_request_does_not_reach_the_device() {
    let frame = [b"\r\n", GET].concat();
    assert_eq!(Http.unwrap(&frame).unwrap().body, 2..frame.len());
}

#[test]
fn prompts_of_the_device_do_not_reach_the_client_and_other_interim_answers_do() {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (prompt, hints) = ("HTTP/1.1 100 Continue\r\nX: y\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n");
    for (frame, gone) in [(format!("{prompt}{prompt}{hints}{last}"), 2 * prompt.len()), (format!("{hints}{prompt}{last}"), 0)] {
        assert_eq!(Http.unwrap(frame.as_bytes()).unwrap().body, gone..frame.len());
    }
    // Nor is the body of an answer taken for one.
    let until_close = format!("HTTP/1.1 200 OK\r\n\r\n{prompt}");
    assert_eq!(Http.unwrap(until_close.as_bytes()).unwrap().body, 0..until_close.len());
}

#[test]
fn a_client_is_prompted_once_and_only_while_it_waits() {
    let head = b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n".as_slice();
    let mut scan = Scan::new(Side::Downstream);
    let whole = [head, b"ok"].concat();
    assert_eq!(Http.split(head, &mut scan, 4096), Ok(Split::Prompt(PROMPT)));
    assert_eq!(Http.split(head, &mut scan, 4096), Ok(Split::More));
    assert_eq!(Http.split(&whole, &mut scan, 4096), Ok(Split::Frame(whole.len())));
    assert_eq!(split(Side::Downstream, &whole[..whole.len() - 1], 4096), Ok(Split::More));
}

#[test]
fn methods_that_change_nothing_may_be_sent_again() {
    for (method, intent) in
        [("GET", Intent::Read), ("OPTIONS", Intent::Read), ("TRACE", Intent::Read), ("PUT", Intent::Write), ("get", Intent::Write)]
    {
        assert_eq!(Http.intent(format!("{method} / HTTP/1.1\r\n\r\n").as_bytes()), intent, "{method}");
    }
    assert_eq!(Http.intent(b""), Intent::Write);
}

#[test]
fn only_the_answer_to_head_has_no_body() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let http = find("http").unwrap();
    assert_eq!(verdict(http, http.awaits(GET), answer, []), Verdict::Frame(answer.len()));
    assert_eq!(verdict(http, http.awaits(HEAD), answer, []), Verdict::Frame(answer.len() - 2));
}
