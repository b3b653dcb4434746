//! Kind `multiplexer`: shares few connections to a device among many clients, and gives each its own answer.

pub mod protocol;
