//! What a client is told when its request has no answer of the device.

use super::Refusal;

/// A whole answer; to HEAD without its body.
pub(super) fn message(to_head: bool, why: Refusal) -> Vec<u8> {
    let (status, text, more) = match why {
        Refusal::Silent => ("504 Gateway Timeout", "the device has not answered in time", ""),
        Refusal::NoPath => ("502 Bad Gateway", "there is no connection to the device", ""),
        Refusal::BadAnswer => ("502 Bad Gateway", "the device has answered with something that is no answer", ""),
        Refusal::Busy => ("503 Service Unavailable", "too many requests wait for the device, try again", "Retry-After: 1\r\n"),
        Refusal::Denied => ("403 Forbidden", "this request is not allowed here", ""),
        // Where the next request begins is not known.
        Refusal::Malformed => ("400 Bad Request", "the request is malformed", "Connection: close\r\n"),
    };
    let length = text.len() + 1;
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{more}\r\n");
    let body = if to_head { String::new() } else { format!("{text}\n") };
    (head + &body).into_bytes()
}
