//! What is wrong with a mirror's spec although every field can be read by itself.

use futures_util::future::BoxFuture;

use super::MirrorFlow;
use super::probe;
use super::spec::{MirrorLeg, MirrorSpec, Protocol, ProxyProtocol, WhenFull};
use crate::flow::{Finding, Prober, Problem, Spec};
use crate::net::{ListenAddress, Network};

impl Spec for MirrorSpec {
    const KIND: &'static str = "mirror";
    type Flow = MirrorFlow;

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |pointer: &str, message: &str| problems.push(Problem::new(pointer, message));
        if self.mirrors.is_empty() {
            wrong("/mirrors", "at least one mirror is needed: add one with an address");
        }
        if self.mirrors.len() > 16 {
            wrong("/mirrors", "at most 16 mirrors are possible");
        }
        if !(1..=1_000_000).contains(&self.max_connections) {
            wrong("/max_connections", "between 1 and 1000000 connections are possible");
        }
        if self.connect_timeout.0.is_zero() {
            wrong("/connect_timeout", "must be longer than 0: connecting takes time");
        }
        if self.idle_timeout.is_some_and(|t| !(1..=4 * 86_400).contains(&t.0.as_secs())) {
            wrong("/idle_timeout", "must be between 1 s and 4 days, or left out for none");
        }
        if !(1..=86_400).contains(&self.udp_session_timeout.0.as_secs()) {
            wrong("/udp_session_timeout", "must be between 1 s and 1 day");
        }
        if !(1..=65_536).contains(&self.udp_sessions) {
            wrong("/udp_sessions", "between 1 and 65536 sessions are possible");
        }
        if self.protocol == Protocol::Udp {
            self.check_udp(&mut wrong);
        }
        for (i, leg) in self.mirrors.iter().enumerate() {
            self.check_leg(leg, |field, message| wrong(&format!("/mirrors/{i}/{field}"), message));
        }
        self.check_targets(&mut problems);
        problems
    }

    fn listens(&self) -> Vec<(&'static str, ListenAddress, bool)> {
        vec![("/listen", self.listen, self.protocol == Protocol::Udp)]
    }

    fn probe(&self, prober: Prober) -> BoxFuture<'static, Vec<Finding>> {
        probe::probe(self, prober)
    }
}

impl MirrorSpec {
    fn check_targets(&self, problems: &mut Vec<Problem>) {
        let targets = self.target.all();
        let place = |i: usize| format!("/target{}", self.target.pointer(i));
        for (i, target) in targets.iter().enumerate() {
            if target.port() == 0 {
                problems.push(Problem::new(place(i), "port 0 can't be dialled: a port is a number from 1 to 65535"));
            }
            if self.listen.is_reached_by(target) {
                let text = "the target is the address that this flow listens on: the stream would go round for ever";
                problems.push(Problem::new(place(i), text).because_of("/listen"));
            }
            if let Some(first) = targets.iter().take(i).position(|earlier| earlier.is_same_as(target)) {
                let text = format!("{target} is in the list already: each address is tried once");
                problems.push(Problem::new(place(i), &text).because_of(place(first)));
            }
        }
    }

    fn check_udp(&self, wrong: &mut impl FnMut(&str, &str)) {
        if self.proxy_protocol == ProxyProtocol::V1 {
            wrong("/proxy_protocol", "version 1 is for TCP only: take v2, which is put before each datagram, or none");
        }
        if !self.trusted_proxies.is_empty() {
            wrong("/trusted_proxies", "are for TCP only: leave them out");
        }
        if self.idle_timeout.is_some() {
            wrong("/idle_timeout", "is for TCP only: udp_session_timeout is that of UDP");
        }
        for (i, leg) in self.mirrors.iter().enumerate() {
            if leg.required {
                wrong(&format!("/mirrors/{i}/required"), "is for TCP only: with UDP nobody knows whether a mirror can be reached");
            }
        }
    }

    fn check_leg(&self, leg: &MirrorLeg, mut wrong: impl FnMut(&str, &str)) {
        let udp = self.protocol == Protocol::Udp;
        if leg.address.port() == 0 {
            wrong("address", "port 0 can't be dialled: a port is a number from 1 to 65535");
        }
        if self.listen.is_reached_by(&leg.address) {
            wrong("address", "the mirror is the address that this flow listens on: the stream would go round for ever");
        }
        if !(1024..=1 << 30).contains(&leg.buffer.0) {
            wrong("buffer", "must be between 1 KiB and 1 GiB");
        }
        if !leg.from_client && !leg.from_target && !leg.to_client {
            wrong("from_client", "nothing goes to or comes from this mirror: turn from_client, from_target or to_client on");
        }
        if udp && leg.when_full == WhenFull::Block {
            wrong("when_full", "block is for TCP only: with UDP, what can't be sent now is dropped");
        }
        let Some(spool) = &leg.spool else { return };
        if udp {
            wrong("spool", "is for TCP only: leave it out");
        }
        if leg.to_client {
            wrong("spool", "can't be together with to_client: a client can't wait for the answers of a mirror that is away");
        }
        if leg.when_full == WhenFull::Block {
            wrong("spool", "can't be together with when_full = block: what the mirror does not take goes to the disk");
        }
        if leg.required {
            wrong("spool", "can't be together with required: that refuses the clients whose copies are to be kept");
        }
        if !leg.from_client && !leg.from_target {
            wrong("spool", "there is nothing to keep: turn from_client or from_target on");
        }
        if spool.max_bytes.0 < 1 << 20 {
            wrong("spool/max_bytes", "must be at least 1 MiB");
        }
        if !(60..=366 * 86_400).contains(&spool.max_age.0.as_secs()) {
            wrong("spool/max_age", "must be between 1 minute and 366 days");
        }
    }

    /// Whether a client at `ip` may connect.
    pub(super) fn allows(&self, ip: std::net::IpAddr) -> bool {
        self.allow.is_empty() || Network::any_contains(&self.allow, ip)
    }
}
