//! One binary for all integration tests. They drive the real `domoflux` with real sockets.
