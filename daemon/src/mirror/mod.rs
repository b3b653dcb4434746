//! Kind `mirror`: relays a stream between clients and a target, and copies it to mirrors that can't hurt it.
//!
//! [`spec`] is what the user writes, [`flow`] accepts, `connection` dials, `relay` moves the bytes of one connection,
//! and `leg` is its way to one mirror. `targets` knows which targets answer, `search` finds one for a client, and `proxy`
//! reads and writes the header that says whose a connection is. `spool` keeps connections on disk, and `udp` does it all
//! for datagrams.

mod connection;
mod counters;
mod flow;
mod leg;
mod patience;
mod probe;
mod proxy;
mod relay;
mod search;
mod shared;
mod spec;
mod spec_check;
pub(crate) mod spool;
mod targets;
mod turn;
mod udp;

pub use counters::COUNTERS;
pub use flow::MirrorFlow;
pub use spec::{MirrorLeg, MirrorSpec, Partial, Protocol, ProxyProtocol, SpoolSpec, WhenFull};
