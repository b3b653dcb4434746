//! One flow in the foreground, without a daemon or a file: from the first client until a signal, and then until the last.

use std::path::PathBuf;

use serde_json::{Map, Value};
use tokio::signal::unix::SignalKind;

use super::{CONFIG, Failure, live};
use crate::app;
use crate::flow::{FlowSpec, Flows, Means, Problem, RegistryError};
use crate::log::{Format, Log, LogLevel};
use crate::net::budget;
use crate::service::Stop;
use crate::store::Store;
use crate::units::{Bytes, Seconds};

/// What every flow in the foreground has besides its spec.
#[derive(clap::Args)]
pub(super) struct Running {
    /// Memory that all queues share.
    #[arg(long, value_name = "SIZE", default_value_t = Bytes(budget::DEFAULT_TOTAL as u64))]
    buffer_total: Bytes,
    /// How long connections may go on after Ctrl-C.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = super::duration::read)]
    drain_timeout: Seconds,
    /// Threads that relay; more than one pays on a machine with cores to spare and many busy connections.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
}

impl Default for Running {
    fn default() -> Self {
        Self { buffer_total: Bytes(budget::DEFAULT_TOTAL as u64), drain_timeout: Seconds::new(5), threads: 1 }
    }
}

/// A flow to be served. Its kind is its id as well.
pub(super) struct Foreground<'a> {
    pub(super) kind: &'static str,
    pub(super) spec: Value,
    pub(super) running: &'a Running,
    pub(super) spool_dir: Option<PathBuf>,
    pub(super) log_level: LogLevel,
    /// What is logged when it serves.
    pub(super) hello: String,
    /// The option that a problem of the spec is about, without its dashes.
    pub(super) option_of: fn(&Problem) -> String,
    /// Signals that stop it, beside SIGTERM and SIGINT.
    pub(super) stopped_by: &'a [SignalKind],
    /// The exit code when it can't serve.
    pub(super) failing: u8,
}

impl Foreground<'_> {
    /// Serves until a signal, and drains.
    pub(super) fn run(self) -> Result<(), Failure> {
        let _log = Log::start(self.log_level, Format::of_stderr());
        super::run_to_end(self.running.threads.into(), self.serve())?
    }

    async fn serve(self) -> Result<(), Failure> {
        app::raise_descriptor_limit();
        let stop = Stop::on_signals_and(self.stopped_by).map_err(|e| Failure::new(e.to_string()))?;
        let total = super::buffer_total(self.running.buffer_total)?;
        let flows = Flows::new(Means::new(total, Store::in_memory(), self.spool_dir.clone()));
        let wanted = FlowSpec { id: self.kind.to_owned(), kind: self.kind.to_owned(), spec: self.spec, enabled: true };
        flows.apply("cli", &wanted).await.map_err(|error| match error {
            RegistryError::Request { problems } => {
                let lines: Vec<String> = problems.0.iter().map(|p| format!("--{}: {}", (self.option_of)(p), p.message)).collect();
                Failure::with_code(lines.join("\n"), CONFIG)
            }
            error => Failure::with_code(error.to_string(), self.failing),
        })?;
        tracing::info!(flow = self.kind, "{}; Ctrl-C ends it", self.hello);
        tokio::select! {
            () = stop.now.cancelled() => {}
            () = live::counters(&flows, self.kind) => {}
        }
        live::end();
        let cut = app::drain(&flows, self.running.drain_timeout.0, &stop).await;
        app::flush_spools().await;
        let counters = flows.counters(None).map_err(|e| Failure::new(e.to_string()))?;
        for counters in counters.values() {
            tracing::info!("{}; {cut} connections cut", live::summary(self.kind, &counters.values()));
        }
        Ok(())
    }
}

/// Sets a field of a spec, if it is given.
pub(super) fn put(fields: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), value);
    }
}
