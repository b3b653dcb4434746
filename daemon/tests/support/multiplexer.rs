//! A daemon with one multiplexer. When the test is over, its clients go, and every request must have ended in one way.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Change, Daemon, Modbus, until};

/// The flow's id.
const ID: &str = "inverter";

/// A multiplexer, and the daemon that it is in.
pub(crate) struct Multiplexer {
    pub(crate) daemon: Daemon,
    pub(crate) at: SocketAddr,
    pub(crate) spec: Value,
}

/// A multiplexer of a Modbus device on a free port of 127.0.0.1.
pub(crate) fn modbus(target: SocketAddr) -> Value {
    speaks("modbus", target)
}

/// The same with another protocol.
pub(crate) fn speaks(protocol: &str, target: SocketAddr) -> Value {
    json!({"listen": "127.0.0.1:0", "protocol": protocol, "target": target, "timeout": 5})
}

impl Multiplexer {
    #[track_caller]
    pub(crate) fn start(spec: Value) -> Self {
        Self::on(Daemon::start(), spec)
    }

    #[track_caller]
    pub(crate) fn on(daemon: Daemon, spec: Value) -> Self {
        let at = daemon.flow("multiplexer", ID, &spec);
        Self { daemon, at, spec }
    }

    /// A Modbus client of it.
    #[track_caller]
    pub(crate) fn client(&self) -> Modbus {
        Modbus::connect(self.at)
    }

    /// Changes one field of its spec.
    #[track_caller]
    pub(crate) fn edit(&mut self, pointer: &str, value: impl serde::Serialize) {
        self.spec = std::mem::take(&mut self.spec).with(pointer, value);
        assert_eq!(self.daemon.flow("multiplexer", ID, &self.spec), self.at);
    }

    #[track_caller]
    pub(crate) fn disable(&self) {
        let off = json!({"id": ID, "owner": "test", "kind": "multiplexer", "spec": self.spec, "enabled": false});
        self.daemon.call("flow.apply", off).unwrap();
    }

    #[track_caller]
    pub(crate) fn remove(&self) {
        self.daemon.call("flow.remove", json!({"id": ID})).unwrap();
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.daemon.status(ID)
    }

    #[track_caller]
    pub(crate) fn counters(&self) -> Value {
        self.daemon.counters(ID)
    }

    #[track_caller]
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.daemon.counter(ID, name)
    }

    /// Waits until a counter has a value.
    #[track_caller]
    pub(crate) fn counts(&self, name: &str, value: u64) {
        self.daemon.counts(ID, name, value);
    }

    /// Waits until the status says that something is wrong; what.
    #[track_caller]
    pub(crate) fn is_in_trouble(&self) -> String {
        until("trouble in the status", || {
            let status = self.status();
            let wrong = status["troubles"].as_array()?.first()?.clone();
            Some(wrong["text"].as_str().unwrap().to_owned())
        })
    }

    /// Waits until the status says that nothing is wrong.
    #[track_caller]
    pub(crate) fn is_well(&self) {
        until("no trouble in the status", || (self.status()["troubles"] == json!([])).then_some(()));
    }

    /// Waits until it is at rest, and looks whether its counters add up.
    #[track_caller]
    fn adds_up(&self) {
        let mut last = Value::Null;
        let rests = || {
            last = self.counters();
            ["activeConnections", "queueDepth", "inFlight"].iter().all(|gauge| last[gauge] == 0).then_some(())
        };
        super::wait::until_or(super::PATIENCE, rests).unwrap_or_else(|| panic!("it does not come to rest: {last}"));
        let ends = ["answers", "timeouts", "noPath", "busy", "denied", "badAnswers", "abandoned"];
        let ended: u64 = ends.iter().map(|name| last[name].as_u64().unwrap()).sum();
        assert_eq!(last["requests"], ended, "the counters do not add up: {last}");
    }
}

impl Drop for Multiplexer {
    fn drop(&mut self) {
        if std::thread::panicking() || self.daemon.process.has_exited().is_some() {
            return;
        }
        if self.daemon.call("flow.list", json!({})).unwrap()[0]["state"] == "serving" {
            self.adds_up();
        }
    }
}
