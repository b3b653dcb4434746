//! What every flow has: the trait, the table of kinds, the supervisor, the registry, status and counters.
//!
//! A flow is rebuilt from its spec for every attempt. Starting, stopping, retrying and status are the supervisor's
//! business, never the flow's.

mod backoff;
mod check;
mod connections;
mod counters;
mod error;
mod events;
mod kept;
mod kind;
mod means;
mod probe;
mod registry;
mod registry_error;
mod report;
mod schema;
mod status;
mod supervisor;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::net::{ListenAddress, Listeners, RelayPool};

pub use backoff::Backoff;
pub use check::{Problem, Problems, read_spec};
pub(crate) use check::{read, read_all};
pub use connections::Connections;
pub(crate) use counters::counter_table;
pub use counters::{CounterDef, CounterValues, Counters, Unit};
pub use error::{Fault, FlowError};
pub use events::{Event, EventKind, Events, KEPT as EVENTS_KEPT, Polled};
pub use kept::Kept;
pub use kind::{FlowKind, KINDS, describe_kinds, find_kind};
pub use means::Means;
pub use probe::{Finding, Prober};
pub(crate) use registry::name_problem;
pub use registry::{Applied, FlowSpec, Flows, Synced};
pub use registry_error::RegistryError;
pub use report::{LastError, Report};
pub(crate) use schema::schema_of;
pub use status::{FlowStatus, State};

/// Serves until [`FlowContext::draining`] (accept no more, finish what runs); `Err` asks for a reopen after a back-off.
pub type Serve = Pin<Box<dyn Future<Output = Result<(), FlowError>> + Send>>;

/// One thing that the daemon runs, built from its spec and not open yet.
pub trait Flow: Send {
    /// Leases its sockets from `cx.listeners`, opens its files. Failing here reaches the person who saved the form.
    fn open(self: Box<Self>, cx: FlowContext) -> BoxFuture<'static, Result<Serve, FlowError>>;
}

/// What a user writes to get a flow of one kind.
pub trait Spec: DeserializeOwned + JsonSchema + Send + 'static {
    /// The kind's name.
    const KIND: &'static str;
    /// The flow that it describes.
    type Flow: Flow + From<Self> + 'static;

    /// What is wrong although every field can be read by itself.
    fn check(&self) -> Vec<Problem>;

    /// Where its flow would listen: the field's JSON pointer, the address, and whether it is by UDP.
    fn listens(&self) -> Vec<(&'static str, ListenAddress, bool)> {
        Vec::new()
    }

    /// Tries out the addresses in it, without starting anything.
    fn probe(&self, _prober: Prober) -> BoxFuture<'static, Vec<Finding>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

/// What a flow gets to work with. It is the same for every attempt, but for the token.
#[derive(Clone)]
pub struct FlowContext {
    /// The flow's id.
    pub id: String,
    /// Where listening sockets are leased.
    pub listeners: Arc<Listeners>,
    /// The flow's connection tasks. They live on when the flow fails or is replaced.
    pub connections: Arc<Connections>,
    /// The flow's counters.
    pub counters: Arc<Counters>,
    /// Where the flow says what goes wrong.
    pub report: Arc<Report>,
    /// The means of relaying that all flows share.
    pub pool: Arc<RelayPool>,
    /// What the flow's attempts leave to the next one.
    pub kept: Arc<Kept>,
    /// A directory for the flow's files, which goes when the flow is removed. It need not exist. There is none where
    /// nothing outlives the process.
    pub dir: Option<PathBuf>,
    drain: CancellationToken,
}

impl FlowContext {
    /// Completes when the flow must accept no more.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }
}
