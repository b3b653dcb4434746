//! Trying out a spec before it runs: what it would listen on, and whom it would dial.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::net::{Address, Dialler, ListenAddress, Listeners, can_send_to};

/// The longest that connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a probe may take in all.
pub(super) const PROBE_WITHIN: Duration = Duration::from_secs(8);

/// What was found about one address of a spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// Where the address is: a JSON pointer into the spec.
    pub pointer: String,
    /// Whether it is as it should be; null where that can't be known, as with UDP.
    pub ok: Option<bool>,
    /// What was found, for a person.
    pub text: String,
    /// How long connecting took, in milliseconds.
    pub ms: Option<u64>,
}

impl Finding {
    /// Something that did not have to be waited for.
    pub(crate) fn new(pointer: impl Into<String>, ok: Option<bool>, text: String) -> Self {
        Self { pointer: pointer.into(), ok, text, ms: None }
    }
}

/// What a kind tries a spec out with.
#[derive(Clone)]
pub struct Prober {
    listeners: Arc<Listeners>,
    flow: Option<String>,
}

impl Prober {
    /// For a spec that would be that of `flow`, which may run already.
    pub fn new(listeners: Arc<Listeners>, flow: Option<&str>) -> Self {
        Self { listeners, flow: flow.map(str::to_owned) }
    }

    /// Whether the flow could listen there. Nobody can connect meanwhile.
    pub fn listen(&self, pointer: &str, address: ListenAddress, udp: bool) -> Finding {
        match self.listeners.try_out(self.flow.as_deref(), address, udp) {
            Ok(true) => Finding::new(pointer, Some(true), format!("this flow listens on {address}")),
            Ok(false) => Finding::new(pointer, Some(true), format!("{address} is free")),
            Err(error) => Finding::new(pointer, Some(false), error.to_string()),
        }
    }

    /// Connects by TCP, and closes without a byte.
    pub async fn dial(&self, pointer: String, address: Address, within: Duration) -> Finding {
        let started = tokio::time::Instant::now();
        let dialler = Dialler { timeout: within.min(CONNECT_WITHIN), keepalive: false };
        let stream = match dialler.dial(&address).await {
            Ok(stream) => stream,
            Err(error) => return Finding::new(pointer, Some(false), error.to_string()),
        };
        let ms = started.elapsed().as_millis() as u64;
        // One that has reset the connection meanwhile has answered, too.
        let text = match stream.peer_addr() {
            Ok(peer) => format!("{peer} answers"),
            Err(_) => format!("{address} answers"),
        };
        Finding { ms: Some(ms), ..Finding::new(pointer, Some(true), text) }
    }

    /// Looks whether datagrams could be sent there, without sending one.
    pub async fn send_to(&self, pointer: String, address: Address, within: Duration) -> Finding {
        match can_send_to(&address, within.min(CONNECT_WITHIN)).await {
            Ok(to) => Finding::new(pointer, None, format!("{to} can be sent to; whether anybody listens there can't be known with UDP")),
            Err(error) => Finding::new(pointer, Some(false), error.to_string()),
        }
    }
}
