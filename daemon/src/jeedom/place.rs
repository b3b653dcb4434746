//! Where events are posted to, and the key that shows who posts them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::Uri;

use crate::net::Address;

/// The longest URL, in bytes.
const LONGEST_URL: usize = 1024;

/// The lengths that a key may have.
const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 8..=256;

/// Why events can't be posted there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WrongPlace {
    /// The parameter that is wrong, as a JSON pointer.
    pub pointer: &'static str,
    /// What is wrong with it, and what to write.
    pub message: String,
}

impl WrongPlace {
    fn url(message: impl Into<String>) -> Self {
        Self { pointer: "/url", message: message.into() }
    }
}

/// A page of a web server on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageUrl {
    text: String,
    /// What stands between `http://` and the path.
    authority: String,
    path: String,
    at: Vec<SocketAddr>,
}

impl PageUrl {
    /// Reads a URL. It names a page of this machine, as the key goes in clear.
    pub fn parse(text: &str) -> Result<Self, WrongPlace> {
        const EXAMPLE: &str = "write http://127.0.0.1/plugins/domoflux/core/php/jeeDomoflux.php, for example";
        if text.len() > LONGEST_URL {
            return Err(WrongPlace::url(format!("has more than {LONGEST_URL} characters")));
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(WrongPlace::url(format!("must begin with http://, which does on this machine: {EXAMPLE}")));
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(WrongPlace::url("must not have a user or a password: the key is what shows who posts"));
        }
        if path.contains('#') {
            return Err(WrongPlace::url("must not have a fragment: leave out what begins with #"));
        }
        if path.contains('?') {
            return Err(WrongPlace::url(
                "must not have a query: it would be in the log of the web server; leave out what begins with ?",
            ));
        }
        let path = if path.is_empty() { "/" } else { path };
        let wrong = || WrongPlace::url(format!("is not a URL: {EXAMPLE}"));
        if !text.bytes().all(|b| b.is_ascii_graphic()) || path.parse::<Uri>().is_err() {
            return Err(wrong());
        }
        // `[::1]` ends with a bracket; any other colon stands before a port.
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let address = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let address: Address = address.parse().map_err(|_| wrong())?;
        if address.port() == 0 {
            return Err(wrong());
        }
        let at = |ip: IpAddr| SocketAddr::new(ip, address.port());
        let at = match address.literal() {
            Some(literal) if is_this_machine(literal.ip()) => vec![literal],
            None if address.host().eq_ignore_ascii_case("localhost") => vec![at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())],
            _ => return Err(WrongPlace::url("must be on this machine, 127.0.0.1, [::1] or localhost: the key goes in clear")),
        };
        Ok(Self { text: text.to_owned(), authority: authority.to_owned(), path: path.to_owned(), at })
    }

    /// Host and port as the web server is told them.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The path, `/` at least.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The addresses to try, in order.
    pub(super) fn at(&self) -> &[SocketAddr] {
        &self.at
    }
}

impl fmt::Display for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `::ffff:127.0.0.1` is left out: there is no reason to write it.
fn is_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback()
}

/// What shows Jeedom that it is this daemon that posts. It is in the body of a post and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Takes a key: 8 to 256 printable ASCII characters.
    pub fn new(text: String) -> Result<Self, WrongPlace> {
        if KEY_LENGTHS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Self(text));
        }
        let (least, most) = (KEY_LENGTHS.start(), KEY_LENGTHS.end());
        Err(WrongPlace { pointer: "/key", message: format!("must be {least} to {most} printable ASCII characters without spaces") })
    }

    /// The key itself.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_this_machine_is_taken_as_it_is_written() {
        for (url, authority, path, at) in [
            ("http://127.0.0.1/core/php/x.php", "127.0.0.1", "/core/php/x.php", "127.0.0.1:80"),
            ("http://127.9.8.7:8080", "127.9.8.7:8080", "/", "127.9.8.7:8080"),
            ("http://[::1]/x%20y", "[::1]", "/x%20y", "[::1]:80"),
            ("http://[::1]:81/", "[::1]:81", "/", "[::1]:81"),
            ("http://localhost:80/jeedom/", "localhost:80", "/jeedom/", "127.0.0.1:80"),
        ] {
            let page = PageUrl::parse(url).expect(url);
            assert_eq!((page.authority(), page.path(), page.at()[0].to_string().as_str()), (authority, path, at));
            assert_eq!(page.to_string(), url);
        }
        assert_eq!(PageUrl::parse("http://LOCALHOST/").expect("right").at().len(), 2);
    }

    #[test]
    fn what_is_no_page_of_this_machine_is_refused_with_the_reason() {
        let long = format!("http://127.0.0.1/{}", "x".repeat(1024));
        for (url, word) in [
            ("https://127.0.0.1/", "must begin with http://"),
            ("127.0.0.1/x", "must begin with http://"),
            ("", "must begin with http://"),
            ("http://192.168.1.9/", "in clear"),
            ("http://0.0.0.0/", "in clear"),
            ("http://[::]/", "in clear"),
            ("http://[::ffff:127.0.0.1]/", "in clear"),
            ("http://localhost.evil.example/", "in clear"),
            ("http://me:it@127.0.0.1/", "user"),
            ("http://127.0.0.1@evil.example/", "user"),
            ("http://127.0.0.1/#x", "fragment"),
            ("http://127.0.0.1?apikey=x", "query"),
            ("http://127.0.0.1:0/", "not a URL"),
            ("http://127.0.0.1:x/", "not a URL"),
            ("http:///x", "not a URL"),
            ("http://127.0.0.1/a b", "not a URL"),
            ("http://127.0.0.1/a\r\nX: y", "not a URL"),
            ("http://127.0.0.1/é", "not a URL"),
            (&long, "1024"),
        ] {
            let wrong = PageUrl::parse(url).expect_err(url);
            assert!(wrong.pointer == "/url" && wrong.message.contains(word), "{url}: {wrong:?}");
        }
    }

    #[test]
    fn a_key_shows_itself_nowhere() {
        let key = Key::new("12345678".to_owned()).expect("right");
        assert!(!format!("{key:?}").contains('5'));
        for wrong in ["", "1234567", "1234 5678", "1234567é", &"x".repeat(257)] {
            let wrong = Key::new(wrong.to_owned()).expect_err(wrong);
            assert_eq!(wrong.pointer, "/key");
        }
    }
}
