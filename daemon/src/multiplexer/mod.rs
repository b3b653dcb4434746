//! Kind `multiplexer`: shares few connections to a device among many clients, and gives each its own answer.
//!
//! [`spec`] is what the user writes, [`protocol`] finds requests and answers in bytes, and `flow` accepts. A client's task
//! (`session`) hands requests to the `hub`; each device is a `lane` with its queue and its connections (`link`, and `conn` while
//! one is open), which find for each answer the request that it answers and give it (`post`) to the `client`. An edit puts
//! another hub on the `desk`, where clients find it.

mod cache;
mod client;
mod conn;
mod counters;
mod desk;
mod flow;
mod hub;
mod io;
mod keeper;
mod lane;
mod latency;
mod link;
mod post;
mod probe;
pub mod protocol;
mod queue;
mod ranges;
mod request;
mod rules;
mod session;
pub mod spec;
mod spec_check;
mod state;
mod units;

pub use counters::COUNTERS;
pub use flow::MultiplexerFlow;
pub use spec::MultiplexerSpec;
