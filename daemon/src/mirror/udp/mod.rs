//! UDP: datagrams of a session are relayed to the target and copied to the mirrors, one by one.
//!
//! [`serve`] receives what clients send, [`table`] knows their sessions, `session` has the sockets of one, `driver`
//! receives what comes back on them, `leg` is the way to one peer, and `targets` says which target is used.

mod driver;
mod health;
mod leg;
mod serve;
mod session;
mod shared;
mod table;
mod targets;

pub(super) use serve::open;
