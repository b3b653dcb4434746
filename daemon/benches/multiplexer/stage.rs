//! One sample's set-up: a device, the contestant before it, and clients in front.

use std::net::SocketAddr;

use serde_json::Value;

use crate::asking::Asking;
use crate::contestant::Contestant;
use crate::place::Place;
use crate::proxy::Proxy;
use crate::role::Role;

pub(crate) struct Stage {
    /// Where clients connect to: the proxy, or the device itself.
    front: SocketAddr,
    /// Absent for direct connections.
    pub(crate) proxy: Option<Proxy>,
    device: Role,
}

/// What clients got.
pub(crate) struct Sample {
    answer: Value,
    /// Processor time the proxy took, in seconds.
    pub(crate) cpu: Option<f64>,
    /// What reached the device, an answer.
    pub(crate) passed: f64,
}

impl Sample {
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.answer[name].as_f64().unwrap_or(f64::NAN)
    }
}

impl Stage {
    /// With `apart`, the device has a processor that the clients leave alone.
    pub(crate) fn set(who: Contestant, device: &str, apart: bool) -> Result<Self, String> {
        let (device, at) = Role::serve(device, if apart { Place::Second } else { Place::Anywhere })?;
        let proxy = who.start(at)?;
        let front = proxy.as_ref().map_or(at, |p| p.front);
        Ok(Self { front, proxy, device })
    }

    /// `count` clients that are connected, have made a request, and wait.
    pub(crate) fn clients(&mut self, count: usize, asking: Asking, milliseconds: usize, place: Place) -> Result<Role, String> {
        let args = ["clients", &self.front.to_string(), &count.to_string(), asking.name(), &milliseconds.to_string()];
        let clients = Role::start(&args, place)?;
        self.explained(clients.line())?;
        Ok(clients)
    }

    /// What they get in the time that they were given.
    pub(crate) fn run(&mut self, clients: &mut Role) -> Result<Sample, String> {
        let cpu = |stage: &Self| stage.proxy.as_ref().map(|p| p.process.cpu_seconds());
        let (before, requests) = (cpu(self), self.requests()?);
        let answer = self.explained(clients.ask())?;
        let (after, more) = (cpu(self), self.requests()?);
        let cpu = before.zip(after).map(|(before, after)| after - before);
        let passed = (more - requests) as f64 / answer["answers"].as_f64().unwrap_or(f64::NAN);
        Ok(Sample { answer, cpu, passed })
    }

    /// That reached the device so far, all of them such as clients send.
    fn requests(&mut self) -> Result<u64, String> {
        let report = self.device.ask()?;
        match report["fault"].as_str() {
            Some(fault) => Err(format!("the device: {fault}")),
            None => Ok(report["requests"].as_u64().unwrap_or(0)),
        }
    }

    /// What the clients saw, with what the device and the proxy have to say about it.
    fn explained(&mut self, outcome: Result<Value, String>) -> Result<Value, String> {
        outcome.map_err(|error| {
            let report = self.device.ask().unwrap_or_default();
            let fault = report["fault"].as_str().map_or(String::new(), |fault| format!("; the device: {fault}"));
            error + &fault + &self.proxy.as_ref().map_or(String::new(), Proxy::log)
        })
    }
}
