//! Why a flow does not run.

use std::net::SocketAddr;

use serde::Serialize;

use super::Problems;

/// Who has to do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The person who wrote the spec.
    Config,
    /// Whoever holds the address that the flow wants to listen on.
    Listen,
    /// A client.
    Downstream,
    /// Whom the flow dials.
    Upstream,
    /// Domoflux itself.
    Internal,
}

/// Why a flow can't be opened, or stopped serving.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FlowError {
    /// The spec is wrong.
    #[error("{problems}")]
    Config {
        /// All that is wrong.
        problems: Problems,
    },
    /// A listening socket can't be opened.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The reason, for a person.
        reason: String,
    },
    /// Opening took too long.
    #[error("not open after {seconds} s; it is tried again")]
    Slow {
        /// How long was waited.
        seconds: u64,
    },
    /// A defect.
    #[error("the flow failed inside: {what}; this is a defect of domoflux, please report it with the log")]
    Internal {
        /// What is known.
        what: String,
    },
}

impl FlowError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Config { .. } => Fault::Config,
            Self::Listen { .. } => Fault::Listen,
            Self::Slow { .. } => Fault::Upstream,
            Self::Internal { .. } => Fault::Internal,
        }
    }

    /// Whether trying again can help without anybody changing the spec.
    pub fn can_retry(&self) -> bool {
        !matches!(self, Self::Config { .. })
    }
}
