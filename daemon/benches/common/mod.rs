//! What the benchmarks share: processes and what the kernel says of them, roles, tables, verdicts. Each includes it with
//! a `#[path]` and uses what it needs.
#![allow(dead_code, unused_imports, reason = "no benchmark needs all of it")]

pub(crate) mod arguments;
pub(crate) mod load;
pub(crate) mod place;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod report;
pub(crate) mod role;
pub(crate) mod table;
pub(crate) mod verdict;
