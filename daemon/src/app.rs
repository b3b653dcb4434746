//! The only wiring: settings → open everything → serve → drain.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::flow::{Backoff, FlowSpec, Flows, Means};
use crate::log::Log;
use crate::mirror::spool;
use crate::net::budget;
use crate::rpc::{self, Daemon, Limits, Token, TokenError};
use crate::store::Store;
use crate::text::{reason, unix_ms};

/// How often counters that changed are written.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// How long what spools hold may take to be written at a stop.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// The owner of the flows of a configuration file.
pub const FILE_OWNER: &str = "file";

/// The instances that are known by name, and their ports.
pub static INSTANCES: &[(&str, u16)] = &[("jeedom", 55170), ("domoticz", 55171), ("default", 55172)];

/// What a daemon is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which instance it is.
    pub instance: String,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where the store and the token are.
    pub state_dir: PathBuf,
    /// The flows of the configuration file, if there is one.
    pub file_flows: Option<Vec<FlowSpec>>,
    /// The memory that all relay queues share, in bytes.
    pub buffer_total: usize,
    /// How long connections may go on after a stop is asked for.
    pub drain_timeout: Duration,
    /// Whether /metrics needs no token.
    pub metrics_public: bool,
}

impl Settings {
    /// The defaults of an instance.
    pub fn new(instance: &str, state_dir: PathBuf) -> Self {
        let port = INSTANCES.iter().find(|(name, _)| *name == instance).map_or(0, |(_, port)| *port);
        Self {
            instance: instance.to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            state_dir,
            file_flows: None,
            buffer_total: budget::DEFAULT_TOTAL,
            drain_timeout: Duration::from_secs(5),
            metrics_public: false,
        }
    }
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Another daemon has this state.
    #[error("another daemon uses {state_dir}: stop it, or choose another --state-dir or --instance")]
    Running {
        /// The directory.
        state_dir: PathBuf,
    },
    /// The API would be open to other machines.
    #[error("the API can't listen on {listen}: it is for this machine only, use 127.0.0.1 or [::1]")]
    NotLoopback {
        /// The address.
        listen: SocketAddr,
    },
    /// There is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The operating system refuses something that nothing works without.
    #[error("{what}: {reason}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        reason: String,
    },
}

/// Runs a daemon until it is told to stop.
pub async fn run(settings: Settings, log: Log) -> Result<(), AppError> {
    if !settings.listen.ip().is_loopback() {
        return Err(AppError::NotLoopback { listen: settings.listen });
    }
    raise_descriptor_limit();
    // Specs name hosts and networks: they are for this user and its group.
    rustix::process::umask(Mode::RWXO | Mode::WGRP);
    let stop = Stop::on_signals()?;
    if let Err(error) = std::fs::create_dir_all(&settings.state_dir) {
        tracing::error!("cannot create {}: {}", settings.state_dir.display(), reason(&error));
    }
    let _lock = lock_state(&settings.state_dir)?;
    let token = match Token::load_or_create(&settings.state_dir.join("token")) {
        // A disk that can't be written is no reason to stop a flow.
        Err(error @ TokenError::File { .. }) => {
            tracing::error!("{error}; nobody can call the API");
            Token::unwritten()?
        }
        token => token?,
    };
    let (store, stored) = Store::open(&settings.state_dir);
    let flows = Flows::new(Means::new(settings.buffer_total, store, Some(settings.state_dir.join("flows"))));
    flows.start_stored(stored.flows, stored.counters).await;
    tracing::info!(
        "domoflux {} started, instance {:?}, state in {}",
        env!("CARGO_PKG_VERSION"),
        settings.instance,
        settings.state_dir.display()
    );
    match &settings.file_flows {
        Some(wanted) => sync_file(&flows, wanted).await,
        None => name_file_flows(&flows),
    }
    let daemon = Daemon {
        flows: Arc::clone(&flows),
        log,
        instance: settings.instance.clone(),
        state_dir: settings.state_dir.clone(),
        boot_id: format!("{:016x}", fastrand::u64(..)),
        started_at: unix_ms(),
        started: Instant::now(),
        stop: stop.now.clone(),
        metrics_public: settings.metrics_public,
    };
    let api = tokio::spawn(serve_api(settings.clone(), daemon, token));
    let saver = tokio::spawn(save_counters(Arc::clone(&flows)));
    stop.now.cancelled().await;
    saver.abort();
    let cut = drain(&flows, settings.drain_timeout, &stop).await;
    let _ = api.await;
    flush_spools().await;
    flows.means().store.close().await;
    let _ = std::fs::remove_file(endpoint_file(&settings.state_dir));
    tracing::info!("stopped, {cut} connections cut");
    Ok(())
}

/// Ends the flows; a second signal ends the waiting.
pub async fn drain(flows: &Flows, within: Duration, stop: &Stop) -> usize {
    tracing::info!("stopping: no new clients, running connections have {} s", within.as_secs_f32());
    let enough = async {
        tokio::select! {
            () = tokio::time::sleep(within) => {}
            () = stop.at_once.cancelled() => tracing::warn!("a second signal: connections are cut"),
        }
    };
    flows.shut_down(enough).await
}

/// Waits until what spools hold is written.
pub async fn flush_spools() {
    if !tokio::task::spawn_blocking(|| spool::flush(FLUSH_WITHIN)).await.unwrap_or(false) {
        tracing::error!("the disk of the spools does not answer: what was to be kept last is lost");
    }
}

async fn sync_file(flows: &Flows, wanted: &[FlowSpec]) {
    // A file without flows says that none are wanted.
    match flows.sync(FILE_OWNER, wanted, true).await {
        // A flow that is listed and can't be opened says so itself.
        Ok(synced) => synced
            .failed
            .iter()
            .filter(|f| flows.status(&f.id).is_err())
            .for_each(|f| tracing::error!(flow = f.id, "{}", f.error)),
        Err(error) => tracing::error!("the flows of the file are not started: {error}"),
    }
}

/// Without a file, its flows go on: a forgotten option must not unplug an alarm.
fn name_file_flows(flows: &Flows) {
    for flow in flows.list(Some(FILE_OWNER)) {
        tracing::info!(flow = flow.id, "runs as an earlier configuration file had it; `domoflux flow remove {}` ends it", flow.id);
    }
}

/// Serves the API. A port that is taken stops no flow: it is tried again until it is free.
async fn serve_api(settings: Settings, daemon: Daemon, token: Token) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let mut said = false;
    let listener = loop {
        match bind(settings.listen) {
            Ok(listener) => break listener,
            Err(error) => {
                if !said {
                    tracing::error!("the API cannot listen on {}: {}; flows run, and it is tried again", settings.listen, reason(&error));
                    said = true;
                }
            }
        }
        tokio::select! {
            () = daemon.stop.cancelled() => return,
            () = tokio::time::sleep(backoff.pause()) => {}
        }
    };
    let Ok(address) = listener.local_addr() else { return };
    let endpoint = json!({
        "address": address.ip(),
        "port": address.port(),
        "pid": std::process::id(),
        "boot_id": daemon.boot_id,
        "version": env!("CARGO_PKG_VERSION"),
        "token_file": settings.state_dir.join("token"),
    });
    if let Err(error) = write_whole(&endpoint_file(&settings.state_dir), &format!("{endpoint}\n")) {
        tracing::error!("cannot write {}: {}", endpoint_file(&settings.state_dir).display(), reason(&error));
    }
    tracing::info!("the API listens on {address}");
    rpc::serve(listener, daemon, token, Limits::default()).await;
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
}

/// The file that tells local programs where the API is.
pub fn endpoint_file(state_dir: &Path) -> PathBuf {
    state_dir.join("endpoint.json")
}

/// Writes beside the file and renames, so that a reader never sees half of it.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, path)
}

async fn save_counters(flows: Arc<Flows>) {
    loop {
        tokio::time::sleep(SAVE_EVERY).await;
        if let Err(error) = flows.save_counters().await {
            tracing::error!("the counters are not saved: {error}");
        }
    }
}

/// Two daemons on one state would lose each other's flows.
fn lock_state(state_dir: &Path) -> Result<Option<std::fs::File>, AppError> {
    let Ok(file) = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(state_dir.join("lock")) else {
        return Ok(None); // an unusable directory is the store's to report
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(AppError::Running { state_dir: state_dir.to_owned() }),
        Err(std::fs::TryLockError::Error(_)) => Ok(None),
    }
}

/// Every connection costs a descriptor a peer; the soft limit of 1024 is for programs that use `select`.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// What SIGTERM and SIGINT ask for.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled by the first signal: stop.
    pub now: CancellationToken,
    /// Cancelled by the second: do not wait for connections.
    pub at_once: CancellationToken,
}

impl Stop {
    /// Watches for signals. The third one ends the process, whatever it is doing.
    pub fn on_signals() -> Result<Self, AppError> {
        let stop = Self::default();
        let system = |error: io::Error| AppError::System { what: "cannot watch for signals".to_owned(), reason: reason(&error) };
        let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
        let cancel = stop.clone();
        tokio::spawn(async move {
            for token in [Some(cancel.now), Some(cancel.at_once), None] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                match token {
                    Some(token) => token.cancel(),
                    None => {
                        crate::log::flush();
                        std::process::exit(1)
                    }
                }
            }
        });
        Ok(stop)
    }
}
