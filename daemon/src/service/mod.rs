//! What a daemon has to do with whoever started it: systemd, or its own supervisor where there is none.
//!
//! [`Notify`] tells the service manager how it goes, [`watchdog`] feeds it while everything answers, [`reload`] reads
//! the configuration file again, [`endpoint`] tells local programs where the API is, [`Stop`] is how it ends, and
//! [`supervise`] is the parent that starts a daemon again on hosts without systemd.

mod channel;
pub mod endpoint;
mod notify;
mod pid_file;
pub mod reload;
mod status;
mod stop;
pub mod supervise;
pub mod watchdog;

pub use endpoint::Endpoint;
pub use notify::Notify;
pub use reload::{ConfigSource, Wrong};
pub use status::keep_told;
pub use stop::{Stop, StopTimes};
