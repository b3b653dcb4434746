//! domoflux: one daemon that duplicates, shares and synchronises the data flows of a home.
//!
//! The map of the modules, from the outside in:
//!
//! - [`cli`]: one file a subcommand; [`app`]: the only wiring, from settings to a daemon that serves and drains;
//! - [`service`]: readiness, watchdog, reload and stop, for systemd or for the supervisor that it has itself;
//! - [`rpc`]: the JSON-RPC API, its table of methods and its HTTP server; [`config`]: the TOML file;
//! - [`flow`]: what every flow has: the trait, the table of kinds, supervisor, registry, status and counters;
//! - [`mirror`]: the kind `mirror`; [`jeedom`]: the callback to Jeedom;
//! - [`net`]: listening, dialling, and the memory that relays share; [`store`]: what outlives the daemon;
//! - [`redact`]: what a bug report must not tell; [`log`], [`i18n`], [`units`], [`text`]: what all of them use.

pub mod app;
pub mod cli;
pub mod config;
pub mod flow;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod i18n;
pub mod jeedom;
pub mod log;
pub mod mirror;
pub mod multiplexer;
pub mod net;
pub mod redact;
pub mod rpc;
pub mod service;
pub mod store;
pub mod text;
pub mod units;
