//! Addresses as people write them: `receiver.example:10001`, `192.168.1.9:502`, `[::1]:80`.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where to dial: a host name or an IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
    ip: Option<IpAddr>,
}

impl Address {
    /// The socket address, when the host is an IP address and need not be resolved.
    pub fn literal(&self) -> Option<SocketAddr> {
        self.ip.map(|ip| SocketAddr::new(ip, self.port))
    }

    /// The host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is surely the same place, however the two are written.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let same_host = if self.ip.is_some() { self.ip == other.ip } else { self.host.eq_ignore_ascii_case(&other.host) };
        self.port == other.port && same_host
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            rest.split_once("]:")
                .ok_or_else(|| format!("{text:?} has no port: write [address]:port, for example [::1]:10001"))?
        } else {
            let (host, port) = text
                .rsplit_once(':')
                .ok_or_else(|| format!("{text:?} has no port: write host:port, for example receiver.example:10001"))?;
            if host.contains(':') {
                return Err(format!("{text:?} is ambiguous: write an IPv6 address in brackets, for example [::1]:10001"));
            }
            (host, port)
        };
        let port = parse_port(text, port)?;
        let ip: Option<IpAddr> = host.parse().ok();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') || !c.is_ascii();
        if host.is_empty() || host.len() > 253 || (ip.is_none() && !host.chars().all(plain)) {
            return Err(format!("{text:?} has no valid host: write host:port, for example receiver.example:10001"));
        }
        // `1.2.3` or `300.1.1.1` would be looked up as names and fail much later.
        if ip.is_none() && host.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return Err(format!("{host:?} is not an IP address: an IPv4 address has four numbers from 0 to 255"));
        }
        Ok(Self { host: host.to_owned(), port, ip })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// Where to listen: an IP address of this machine and a port. `0.0.0.0` is all of IPv4, `[::]` is IPv6 and IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress(pub SocketAddr);

impl ListenAddress {
    /// Whether who dials `address` surely comes here.
    pub fn is_reached_by(&self, address: &Address) -> bool {
        let (here, port) = (self.0.ip(), address.port());
        if port != self.0.port() || port == 0 {
            return false;
        }
        match address.literal() {
            Some(to) => to.ip() == here || to.ip().is_unspecified() || (here.is_unspecified() && to.ip().to_canonical().is_loopback()),
            None => address.host() == "localhost" && (here.is_loopback() || here.is_unspecified()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("{text:?} is not an address to listen on: write address:port, for example 0.0.0.0:10001 or [::]:10001");
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = parse_port(text, port)?;
        if host == "localhost" {
            return Ok(Self(SocketAddr::from(([127, 0, 0, 1], port))));
        }
        Err(wrong())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn parse_port(whole: &str, port: &str) -> Result<u16, String> {
    port.parse().map_err(|_| format!("{port:?} in {whole:?} is not a port: a port is a number from 1 to 65535"))
}

macro_rules! as_text {
    ($type:ty, $pattern:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "examples": [$example]})
            }
        }
    };
}

as_text!(Address, r"^(\[[0-9a-fA-F:.%]+\]|[^:\[\]/ ]+):[0-9]{1,5}$", "receiver.example:10001");
as_text!(ListenAddress, r"^(\[[0-9a-fA-F:.]+\]|[0-9.]+|localhost):[0-9]{1,5}$", "0.0.0.0:10001");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_print_the_same() {
        for text in ["receiver.example:10001", "192.168.1.9:502", "[::1]:80", "[fe80::1]:1", "my_host:65535"] {
            assert_eq!(text.parse::<Address>().map(|a| a.to_string()), Ok(text.to_owned()));
        }
        for text in ["0.0.0.0:10001", "[::]:502", "127.0.0.1:0"] {
            assert_eq!(text.parse::<ListenAddress>().map(|a| a.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_wrong_address_says_what_is_wrong() {
        for (text, word) in [
            ("receiver", "no port"),
            ("receiver:", "not a port"),
            ("receiver:99999", "not a port"),
            (":80", "no valid host"),
            ("::1:80", "brackets"),
            ("[::1]", "no port"),
            ("a b:80", "no valid host"),
            ("300.1.1.1:80", "not an IP address"),
            ("http://x:80", "ambiguous"),
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
        for text in ["80", "example.org:80", "0.0.0.0", "0.0.0.0:x", ":80"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
