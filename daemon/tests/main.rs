//! One binary for all integration tests. They drive the real `domoflux` with real sockets, on ports that the kernel
//! chooses; nothing sleeps, everything has a deadline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that meets what it does not expect has failed"
)]

mod api;
mod api_calls;
mod api_checks;
mod callback;
mod cli;
mod documents;
mod dump;
mod endpoint;
mod french;
mod limits;
mod log_formats;
mod mirror_edits;
mod mirror_ends;
mod mirror_failures;
mod mirror_features;
mod mirror_load;
mod mirror_pace;
mod mirror_proxy;
mod mirror_settings;
mod mirror_spool;
mod mirror_spool_trouble;
mod mirror_targets;
mod mirror_udp;
mod mirror_udp_load;
mod mirror_udp_machine;
mod mirror_udp_trouble;
mod multiplex_answers;
mod multiplex_attack;
mod multiplex_chaos;
mod multiplex_checks;
mod multiplex_cli;
mod multiplex_clients;
mod multiplex_edits;
mod multiplex_failures;
mod multiplex_http;
mod multiplex_lines;
mod multiplex_load;
mod multiplex_pace;
mod multiplex_rules;
mod multiplex_tokio_modbus;
mod multiplex_week;
mod neighbours;
mod probes;
mod reload;
mod service;
mod store;
mod supervise;
mod support;
mod unit_file;
