//! What is wrong with a multiplexer's spec although every field can be read by itself.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::MultiplexerFlow;
use super::probe;
use super::protocol::{self, Protocol};
use super::ranges::Ranges;
use super::spec::{Match, MultiplexerSpec, ReadOnly};
use crate::flow::{Finding, Prober, Problem, Spec};
use crate::net::{Addresses, ListenAddress};
use crate::units::Seconds;

/// How many connections to all devices together there may be; each has a task of its own.
const MOST_CONNECTIONS: usize = 256;
/// The longest that a request may wait.
const LONGEST: Duration = Duration::from_secs(86_400);

impl Spec for MultiplexerSpec {
    const KIND: &'static str = "multiplexer";
    type Flow = MultiplexerFlow;

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.check_ways(&mut problems);
        let tells_answers_apart = self.protocol.0.is_tagged() && self.r#match == Match::Id;
        if self.in_flight > 1 && !tells_answers_apart {
            let text = "must be 1: several requests on a connection need answers with a transaction id (protocol modbus, match id)";
            problems.push(Problem::new("/in_flight", text).because_of("/protocol").because_of("/match"));
        }
        self.check_targets(&mut problems);
        let mut wrong = |pointer: &str, message: &str| problems.push(Problem::new(pointer, message));
        self.check_numbers(&mut wrong);
        self.check_times(&mut wrong);
        if self.protocol.0.is_modbus() {
            self.check_rules(&mut wrong);
        } else {
            self.check_for_modbus_only(&mut problems);
        }
        problems
    }

    fn listens(&self) -> Vec<(&'static str, ListenAddress, bool)> {
        vec![("/listen", self.listen, false)]
    }

    fn probe(&self, prober: Prober) -> BoxFuture<'static, Vec<Finding>> {
        probe::probe(self, prober)
    }
}

impl MultiplexerSpec {
    /// What the clients speak.
    pub(super) fn clients_speak(&self) -> &'static dyn Protocol {
        let same = if self.is_serial() { protocol::find("modbus").unwrap_or(self.protocol.0) } else { self.protocol.0 };
        self.client_protocol.map_or(same, |name| name.0)
    }

    fn is_serial(&self) -> bool {
        self.protocol.0.name() == "modbus-rtu"
    }

    /// Whether there is a way to the device, and clients and device understand each other.
    fn check_ways(&self, problems: &mut Vec<Problem>) {
        let mut wrong = |pointer: &str, message: &str| problems.push(Problem::new(pointer, message).because_of("/protocol"));
        match (self.is_serial(), &self.target, &self.serial) {
            (true, Some(_), _) => wrong(
                "/target",
                "is for devices on the network: protocol modbus-rtu is for a serial line, modbus-rtu-tcp for a converter",
            ),
            (true, None, None) => wrong("/serial", "is missing: protocol modbus-rtu needs the serial line of the device"),
            (false, _, Some(_)) => wrong("/serial", "is for protocol modbus-rtu only: leave it out"),
            (false, None, None) => wrong("/target", "is missing: it must be given"),
            _ => {}
        }
        if let Some(name) = self.client_protocol {
            if name.0.name() == "modbus-rtu" {
                wrong("/client_protocol", "clients can't come by a serial line: take modbus, or modbus-rtu-tcp for RTU over TCP");
            } else if name != self.protocol && !(name.0.is_modbus() && self.protocol.0.is_modbus()) {
                wrong("/client_protocol", "can only be another one where both are Modbus protocols");
            }
        }
        if let Some(serial) = &self.serial {
            let mut wrong = |pointer: &str, message: &str| problems.push(Problem::new(pointer, message));
            if serial.device.is_empty() || serial.device.contains('\0') {
                wrong("/serial/device", "must be the path of a device file, for example /dev/ttyUSB0");
            }
            if !(300..=4_000_000).contains(&serial.baud_rate) {
                wrong("/serial/baud_rate", "between 300 and 4000000 bits a second are possible");
            }
            if !(7..=8).contains(&serial.data_bits) {
                wrong("/serial/data_bits", "7 or 8 are possible");
            }
            if !(1..=2).contains(&serial.stop_bits) {
                wrong("/serial/stop_bits", "1 or 2 are possible");
            }
            if self.max_connections != 1 {
                wrong("/max_connections", "a serial line is one connection");
            }
        }
    }

    fn check_targets(&self, problems: &mut Vec<Problem>) {
        let mut each = |field: &str, targets: &Addresses| {
            for (i, target) in targets.all().iter().enumerate() {
                let place = format!("{field}{}", targets.pointer(i));
                if target.port() == 0 {
                    problems.push(Problem::new(place, "port 0 can't be dialled: a port is a number from 1 to 65535"));
                } else if self.listen.is_reached_by(target) {
                    let text = "the device is the address that this flow listens on: requests would go round for ever";
                    problems.push(Problem::new(place, text).because_of("/listen"));
                } else if let Some(first) = targets.all().iter().take(i).position(|earlier| earlier.is_same_as(target)) {
                    let text = format!("{target} is in the list already: each address is tried once");
                    problems.push(Problem::new(place, &text).because_of(format!("{field}{}", targets.pointer(first))));
                }
            }
        };
        if let Some(target) = &self.target {
            each("/target", target);
        }
        for (i, route) in self.routes.iter().enumerate() {
            each(&format!("/routes/{i}/target"), &route.target);
        }
    }

    fn check_numbers(&self, wrong: &mut impl FnMut(&str, &str)) {
        if !(1..=64).contains(&self.max_connections) {
            wrong("/max_connections", "between 1 and 64 connections are possible");
        }
        let devices = self.routes.len() + 1;
        if self.max_connections as usize * devices > MOST_CONNECTIONS && self.max_connections <= 64 {
            let each = self.max_connections;
            wrong(
                "/max_connections",
                &format!("{each} connections to each of {devices} devices are too many: at most {MOST_CONNECTIONS} in all are possible"),
            );
        }
        if !(1..=1024).contains(&self.in_flight) {
            wrong("/in_flight", "between 1 and 1024 requests are possible");
        }
        if !(1..=65_536).contains(&self.queue_size) {
            wrong("/queue_size", "between 1 and 65536 requests are possible");
        }
        if !(1..=1_000_000).contains(&self.max_clients) {
            wrong("/max_clients", "between 1 and 1000000 clients are possible");
        }
        if !(1024..=64 << 20).contains(&self.max_message.0) {
            wrong("/max_message", "must be between 1 KiB and 64 MiB");
        }
        if self.retry_reads > 10 {
            wrong("/retry_reads", "at most 10 are possible");
        }
    }

    fn check_times(&self, wrong: &mut impl FnMut(&str, &str)) {
        let mut within = |pointer: &str, time: Seconds, least: Duration, text: &str| {
            if time.0 < least || time.0 > LONGEST {
                wrong(pointer, text);
            }
        };
        let (some, second) = (Duration::from_millis(10), Duration::from_secs(1));
        within("/timeout", self.timeout, some, "must be between 10 ms and 1 day");
        within("/connect_timeout", self.connect_timeout, some, "must be between 10 ms and 1 day");
        within("/reconnect_backoff", self.reconnect_backoff, some, "must be between 10 ms and 1 day");
        for (pointer, time) in [("/delay", self.delay), ("/request_gap", self.request_gap), ("/connect_delay", self.connect_delay)] {
            within(pointer, time, Duration::ZERO, "must be at most 1 day");
        }
        if !self.health_check_interval.0.is_zero() {
            within("/health_check_interval", self.health_check_interval, second, "must be between 1 s and 1 day, or 0 for never");
        }
        if let Some(idle) = self.idle_timeout {
            within("/idle_timeout", idle, second, "must be between 1 s and 1 day, or left out for never");
        }
        if let Some(idle) = self.close_when_idle {
            within("/close_when_idle", idle, Duration::ZERO, "must be at most 1 day, or left out for never");
        }
    }

    fn check_rules(&self, wrong: &mut impl FnMut(&str, &str)) {
        let mut bytes = |pointer: String, set: Option<&Ranges>, what: &str| {
            if set.is_some_and(|set| set.largest() > 255) {
                wrong(&pointer, &format!("{what} are numbers from 0 to 255"));
            }
        };
        for (i, rule) in self.cache.iter().enumerate() {
            bytes(format!("/cache/{i}/units"), rule.units.as_ref(), "units");
            bytes(format!("/cache/{i}/functions"), rule.functions.as_ref(), "functions");
        }
        for (i, rule) in self.allow_writes.iter().enumerate() {
            bytes(format!("/allow_writes/{i}/units"), rule.units.as_ref(), "units");
            bytes(format!("/allow_writes/{i}/functions"), rule.functions.as_ref(), "functions");
        }
        for (i, route) in self.routes.iter().enumerate() {
            bytes(format!("/routes/{i}/units"), Some(&route.units), "units");
        }
        for (i, rule) in self.cache.iter().enumerate().filter(|(_, rule)| rule.ttl.0 > LONGEST) {
            wrong(&format!("/cache/{i}/ttl"), &format!("{} is too long: at most 1 day", rule.ttl));
        }
        for (i, pair) in self.unit_map.iter().enumerate() {
            if self.unit_map.iter().take(i).any(|earlier| earlier.from == pair.from) {
                wrong(&format!("/unit_map/{i}/from"), "is in the list already: a unit has one other number");
            }
        }
        if let Some(probe) = &self.probe {
            if !(1..=4).contains(&probe.function) {
                wrong("/probe/function", "is a read: 1, 2, 3 or 4");
            }
            if !(1..=125).contains(&probe.count) {
                wrong("/probe/count", "between 1 and 125 are possible");
            }
        }
        for (pointer, is_too_long) in [
            ("/cache", self.cache.len() > 64),
            ("/allow_writes", self.allow_writes.len() > 64),
            ("/routes", self.routes.len() > 64),
            ("/unit_map", self.unit_map.len() > 256),
        ] {
            if is_too_long {
                wrong(pointer, "has too many entries");
            }
        }
    }

    /// Fields that would do nothing are refused, so that nobody relies on them.
    fn check_for_modbus_only(&self, problems: &mut Vec<Problem>) {
        for (pointer, is_there) in [
            ("/probe", self.probe.is_some()),
            ("/cache", !self.cache.is_empty()),
            ("/read_only", self.read_only != ReadOnly::No),
            ("/allow_writes", !self.allow_writes.is_empty()),
            ("/unit_map", !self.unit_map.is_empty()),
            ("/routes", !self.routes.is_empty()),
            ("/match", self.r#match != Match::Id),
        ] {
            if is_there {
                problems.push(Problem::new(pointer, "is for Modbus protocols only: leave it out").because_of("/protocol"));
            }
        }
    }
}
