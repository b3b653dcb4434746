//! Other names for public IP addresses and for hosts. Private addresses stay: they say nothing about who one is, and
//! without them nothing can be understood.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands before the name of a spool's directory in a path: `flows/<flow>.d/spool/<mirror's address>`.
const SPOOLS: &str = ".d/spool/";

/// Endings of file names, which `name:line` would make look like a host with a port.
const FILES: [&str; 6] = ["toml", "json", "db", "rs", "log", "py"];

/// The names that were given.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    ips: HashMap<IpAddr, String>,
    hosts: HashMap<String, String>,
}

impl Addresses {
    /// A host that is to get another name.
    fn learn(&mut self, name: &str) {
        let name = key(name);
        if is_host(&name) && name != "localhost" {
            self.name_of(&name);
        }
    }

    /// The host that a field of a spec names, as `host:port`, in a URL, or alone where the field is called like it.
    pub(super) fn learn_from_field(&mut self, field: &str, text: &str) {
        let authority = text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest));
        let place = authority.unwrap_or(text);
        let place = place.rsplit_once('@').map_or(place, |(_, host)| host);
        let field = field.to_ascii_lowercase();
        match place.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => self.learn(host),
            None if authority.is_some() || ["host", "broker", "server", "address"].iter().any(|name| field.contains(name)) => self.learn(place),
            _ => {}
        }
    }

    fn name_of(&mut self, host: &str) -> String {
        let number = self.hosts.len() + 1;
        self.hosts.entry(host.to_owned()).or_insert_with(|| format!("host-{number}")).clone()
    }

    /// A text with the other names.
    pub(super) fn renamed(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(SPOOLS) {
            let (before, from) = rest.split_at(at + SPOOLS.len());
            let ends = |c: char| c.is_whitespace() || matches!(c, '/' | ':' | '"' | '\'');
            let (name, _) = from.split_at(from.find(ends).unwrap_or(from.len()));
            let name = name.trim_end_matches(['.', ',', ';', ')']);
            out.push_str(&self.renamed_words(before));
            out.push_str(&self.spool(name));
            rest = from.get(name.len()..).unwrap_or_default();
        }
        out + &self.renamed_words(rest)
    }

    /// The name of a spool's directory: the mirror's address with `_` for `[`, `]` and `:`, and `+1` and so on behind it where
    /// several mirrors have the same address. The numbers stay.
    fn spool(&mut self, name: &str) -> String {
        let (address, twin) = name.split_at(name.find('+').unwrap_or(name.len()));
        let in_brackets = address.strip_prefix('_').and_then(|rest| rest.rsplit_once("__"));
        if let Some((inner, port)) = in_brackets
            && let Some(ip) = ip(&inner.replace('_', ":"))
        {
            return self.ip(ip).map_or_else(|| name.to_owned(), |other| format!("{other}_{port}{twin}"));
        }
        let with_port = address.rsplit_once('_').filter(|(_, port)| port.parse::<u16>().is_ok());
        let host = with_port.map_or(address, |(host, _)| host).to_owned();
        let other = match ip(&host) {
            Some(ip) => self.ip(ip),
            None => (!host.is_empty() && key(&host) != "localhost").then(|| self.name_of(&key(&host))),
        };
        other.unwrap_or_else(|| host.clone()) + name.get(host.len()..).unwrap_or_default()
    }

    fn renamed_words(&mut self, text: &str) -> String {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | ':' | '-' | '_' | '[' | ']' | '%');
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(is_part) {
            let (between, from) = rest.split_at(start);
            let (word, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
            out.push_str(between);
            let bare = word.trim_end_matches(['.', ':', '-']);
            // What ends a sentence is no part of an address, but `fe80::` is one.
            match (self.word(bare), self.word(word)) {
                (Some(other), _) => {
                    out.push_str(&other);
                    out.push_str(word.get(bare.len()..).unwrap_or_default());
                }
                (None, Some(other)) => out.push_str(&other),
                (None, None) => out.push_str(word),
            }
            rest = after;
        }
        out + rest
    }

    fn word(&mut self, word: &str) -> Option<String> {
        if let Some(ip) = ip(word) {
            return self.ip(ip);
        }
        if let Some((host, port)) = word.rsplit_once(':')
            && port.parse::<u16>().is_ok()
        {
            if let Some(ip) = ip(host) {
                return self.ip(ip).map(|name| format!("{name}:{port}"));
            }
            let host = key(host);
            let ending = host.rsplit_once('.').map(|(_, ending)| ending);
            let seems_host = is_host(&host) && ending.is_some_and(|ending| !FILES.contains(&ending) && ending.parse::<u64>().is_err());
            return (self.hosts.contains_key(&host) || seems_host).then(|| format!("{}:{port}", self.name_of(&host)));
        }
        // A name without a dot, `jeedom` say, is a word like any other where no port follows, and tells nothing.
        word.contains('.').then(|| self.hosts.get(&key(word)).cloned()).flatten()
    }

    /// The other name of an address, if it needs one.
    fn ip(&mut self, ip: IpAddr) -> Option<String> {
        let number = self.ips.len() + 1;
        is_public(ip).then(|| self.ips.entry(ip).or_insert_with(|| format!("ip-{number}")).clone())
    }
}

/// An address, perhaps in brackets or with a zone.
fn ip(word: &str) -> Option<IpAddr> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    bare.split('%').next()?.parse().ok()
}

/// How a host is written in the list of names.
fn key(host: &str) -> String {
    host.trim_end_matches('.').to_lowercase()
}

fn is_host(name: &str) -> bool {
    let letters = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.len() <= 253 && name.chars().all(letters) && name.chars().any(char::is_alphabetic) && !name.starts_with(['.', '-'])
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| is_public_v6(ip), is_public_v4),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast())
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local() || ip.is_unique_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_and_hosts_get_names_that_last() {
        let mut addresses = Addresses::default();
        addresses.learn_from_field("target", "receiver.example:10001");
        addresses.learn_from_field("address", "nas:10002");
        addresses.learn_from_field("url", "mqtt://me@broker.example/x");
        addresses.learn_from_field("listen", "0.0.0.0:10001");
        addresses.learn_from_field("kind", "mirror");
        for (text, expected) in [
            ("cannot connect to receiver.example:10001: refused", "cannot connect to host-1:10001: refused"),
            ("NAS:5 answers, nas too.", "host-2:5 answers, nas too."),
            ("broker.example.", "host-3."),
            ("203.0.113.9:502 and 203.0.113.9, not 198.51.100.1/24", "ip-1:502 and ip-1, not ip-2/24"),
            ("[2001:db8::1]:80 is 2001:db8::1", "ip-3:80 is ip-3"),
            ("::ffff:203.0.113.77 came", "ip-4 came"),
            ("later unknown.example:99 came", "later host-4:99 came"),
            ("from 192.168.1.7:5 by 127.0.0.1, [::1]:80, fe80::1%eth0, fd00::1 and 0.0.0.0:1", ""),
            ("panel.toml:4:10: at 12:30:45, mirror: version 0.1.0", ""),
            ("localhost:80 é", ""),
        ] {
            assert_eq!(addresses.renamed(text), if expected.is_empty() { text } else { expected });
        }
    }

    #[test]
    fn the_names_of_spools_are_those_of_their_mirrors() {
        let mut addresses = Addresses::default();
        for mirror in ["secret-host.example.org:9", "nas_1:2", "2001-db8:5", "höhle.example:7"] {
            addresses.learn_from_field("address", mirror);
        }
        assert_eq!(addresses.renamed("[2001:db8:1:2::77]:9, 203.0.113.77:9"), "ip-1:9, ip-2:9");
        for (name, expected) in [
            ("Secret-Host.example.org_9", "host-1_9"),
            ("secret-host.example.org_9+1", "host-1_9+1"),
            ("nas_1_2", "host-2_2"),
            ("nas_1_2+3", "host-2_2+3"),
            ("2001-db8_5", "host-3_5"),
            ("höhle.example_7", "host-4_7"),
            ("_2001_db8_1_2__77__9", "ip-1_9"),
            ("_2001_db8_1_2__77__9+1", "ip-1_9+1"),
            ("203.0.113.77_9", "ip-2_9"),
            ("203.0.113.77_9+15", "ip-2_9+15"),
            ("_2001_db8____9", "ip-3_9"),
            ("gone.example_80+9", "host-5_80+9"),
            ("_2001_nonsense", "host-6"),
            ("192.168.1.7_9", "192.168.1.7_9"),
            ("_fd00__1__9+2", "_fd00__1__9+2"),
            ("localhost_9", "localhost_9"),
        ] {
            let text = format!("3 in /x/flows/f0.d/spool/{name} are kept, /f.d/spool/{name}: no, f.d/spool/{name}/1.rec.");
            let text = addresses.renamed(&text);
            assert_eq!(
                text,
                format!("3 in /x/flows/f0.d/spool/{expected} are kept, /f.d/spool/{expected}: no, f.d/spool/{expected}/1.rec.")
            );
        }
        assert_eq!(addresses.renamed("/var/spool/domoflux and x.d/spool/"), "/var/spool/domoflux and x.d/spool/");
    }
}
