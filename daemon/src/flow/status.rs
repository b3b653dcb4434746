//! What a flow is doing, as the API says it.

use std::net::SocketAddr;

use serde::Serialize;

use super::{Fault, LastError};

/// The state of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Being opened.
    Starting,
    /// Serves.
    Serving,
    /// Could not be opened, or failed; it is tried again.
    Backoff,
    /// Can't run until its spec is changed.
    Failed,
    /// Turned off by its owner.
    Disabled,
}

impl State {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Backoff => "backoff",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }
}

/// The state of a flow at one moment.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct FlowStatus {
    /// The flow's id.
    pub id: String,
    /// Who pushed it.
    pub owner: String,
    /// Its kind.
    pub kind: String,
    /// Whether its owner wants it to run.
    pub enabled: bool,
    /// What it is doing.
    pub state: State,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Whether clients can connect.
    #[serde(rename = "isListening")]
    pub is_listening: bool,
    /// The addresses on which it listens.
    pub listening: Vec<SocketAddr>,
    /// Why it does not serve.
    pub error: Option<String>,
    /// Whose fault that is.
    pub fault: Option<Fault>,
    /// In how many milliseconds it is tried again.
    pub retry_in_ms: Option<u64>,
    /// How often it was opened or tried to be, since the daemon started.
    pub attempts: u64,
    /// What is wrong now although it may serve: places that failed when last tried, the latest first.
    pub troubles: Vec<LastError>,
    /// The last thing that went wrong, in the flow or in one of its connections.
    pub last_error: Option<LastError>,
    /// Connection tasks that run, those that only wait for a mirror among them.
    pub connections: usize,
    /// What is so now inside the flow, where its kind has more to say: the devices, units and clients of a multiplexer.
    pub details: Option<serde_json::Value>,
    /// The spec, as it was pushed.
    pub spec: serde_json::Value,
}
