//! Kind `mirror`: relays a stream between clients and a target, and copies it to mirrors that can't hurt it.
//!
//! [`spec`] is what the user writes, [`flow`] accepts, `connection` dials, `relay` moves the bytes of one connection,
//! and `leg` is its way to one mirror.

mod connection;
mod counters;
mod flow;
mod leg;
mod relay;
mod shared;
mod spec;
mod spec_check;
pub(crate) mod spool;
mod turn;

pub use counters::COUNTERS;
pub use flow::MirrorFlow;
pub use spec::{MirrorLeg, MirrorSpec, Partial, Protocol, ProxyProtocol, SpoolSpec, WhenFull};
