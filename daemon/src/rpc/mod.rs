//! The API: JSON-RPC 2.0 over HTTP on loopback.
//!
//! [`methods`] holds what can be called, `table` registers a method and both its schemas in one call, `server` is the
//! HTTP side with its own accept loop, `auth` decides who may call, `metrics` and `/healthz` are plain GET.

mod auth;
mod error;
mod methods;
mod metrics;
mod server;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::flow::Flows;
use crate::jeedom::Callback;
use crate::log::Log;
use crate::service::Wrong;

pub use auth::{Token, TokenError};
pub use error::ErrorKind;
pub use methods::method_table;
#[cfg(fuzzing)]
pub(crate) use server::Calls;
pub use server::{Limits, serve};
pub use table::MethodTable;

/// The API's version, and the oldest that it still speaks. It rises when a client would have to change.
pub const API_VERSION: u32 = 1;
/// The oldest version that a client may ask for.
pub const API_MIN: u32 = 1;

/// What the methods work with.
#[derive(Clone)]
pub struct Daemon {
    /// The flows.
    pub flows: Arc<Flows>,
    /// Whom it tells what happens.
    pub callback: Arc<Callback>,
    /// The log.
    pub log: Log,
    /// Which instance this is.
    pub instance: String,
    /// Where its state is.
    pub state_dir: PathBuf,
    /// Why the configuration file was not taken when it was last read.
    pub wrong_file: Wrong,
    /// Differs at every start, so that a client knows that cursors and counters began anew.
    pub boot_id: String,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_at: u64,
    /// The same, for the uptime.
    pub started: Instant,
    /// Cancelled to stop the daemon.
    pub stop: CancellationToken,
    /// Whether /metrics needs no token.
    pub metrics_public: bool,
}
