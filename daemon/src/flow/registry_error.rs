//! Why something can't be done to a flow.

use super::registry::{MOST_FLOWS, MOST_PROBES};
use super::{FlowError, Problems};
use crate::store::StoreError;

/// Why the registry refuses.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No flow has this id.
    #[error("there is no flow {id:?}; flow.list names those there are")]
    Unknown {
        /// The id.
        id: String,
    },
    /// The flow has no such counter.
    #[error("{name:?} is not a counter of flow {id:?}; flow.kinds names those there are")]
    UnknownCounter {
        /// The flow's id.
        id: String,
        /// The name.
        name: String,
    },
    /// The request itself is wrong.
    #[error("{problems}")]
    Request {
        /// All that is wrong.
        problems: Problems,
    },
    /// The flow belongs to another owner.
    #[error("flow {id:?} belongs to {owner:?}: choose another id, or remove that flow first")]
    Foreign {
        /// The id.
        id: String,
        /// Its owner.
        owner: String,
    },
    /// There are too many flows.
    #[error("{MOST_FLOWS} flows are listed, more are not possible: remove some first")]
    Full,
    /// An empty list would remove flows.
    #[error("the list is empty and would remove {count} flows of {owner:?}: pass allow_empty if that is meant")]
    WouldEmpty {
        /// The owner.
        owner: String,
        /// How many flows it has.
        count: usize,
    },
    /// Others are trying out specs.
    #[error("{MOST_PROBES} specs are being tried out: try again in a moment")]
    Busy,
    /// The daemon is about to end.
    #[error("the daemon is stopping")]
    Stopping,
    /// Trying out a spec took too long.
    #[error("nothing is found within {seconds} s: try again")]
    Slow {
        /// How long was waited.
        seconds: u64,
    },
    /// The flow is turned off.
    #[error("flow {id:?} is disabled: enable it first")]
    Disabled {
        /// The id.
        id: String,
    },
    /// The flow can't be opened.
    #[error("{error}")]
    Open {
        /// Why.
        error: FlowError,
        /// Whether it is listed nevertheless, and tried again.
        listed: bool,
    },
    /// The change is made but not saved.
    #[error("the change is made, but could not be saved, and will be lost at the next start: {0}")]
    Store(#[from] StoreError),
}
