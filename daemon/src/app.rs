//! The only wiring: settings → open everything → serve → drain.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::DaemonTable;
use crate::flow::{Backoff, FlowSpec, Flows, Means};
use crate::jeedom::Callback;
use crate::log::Log;
use crate::mirror::spool;
use crate::net::budget;
use crate::rpc::{self, Daemon, Limits, Token, TokenError};
use crate::service::reload::Reload;
use crate::service::{ConfigSource, Endpoint, Notify, Stop, StopTimes, keep_told, watchdog};
use crate::store::Store;
use crate::text::{reason, unix_ms};

/// How often counters that changed are written.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// How long what spools hold may take to be written at a stop, while the store closes.
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
    /// What command line and file say in all.
    pub table: DaemonTable,
    /// Where the file is, to read it again.
    pub source: ConfigSource,
    /// Where endpoint.json goes.
    pub endpoint_dir: PathBuf,
    /// Whether the group of this process may read the token.
    pub token_for_group: bool,
}

impl Settings {
    /// The defaults of an instance.
    pub fn new(instance: &str, state_dir: PathBuf) -> Self {
        let port = INSTANCES.iter().find(|(name, _)| *name == instance).map_or(0, |(_, port)| *port);
        Self {
            instance: instance.to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            endpoint_dir: state_dir.clone(),
            state_dir,
            file_flows: None,
            buffer_total: budget::DEFAULT_TOTAL,
            table: DaemonTable::default(),
            source: ConfigSource::default(),
            token_for_group: false,
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

/// How long the API may take to end, beside everything else.
const API_ENDS_WITHIN: Duration = Duration::from_millis(500);

/// How long the store may take to be closed.
const STORE_CLOSES_WITHIN: Duration = Duration::from_secs(1);

/// Runs a daemon until it is told to stop.
pub async fn run(settings: Settings, log: Log) -> Result<(), AppError> {
    if !settings.listen.ip().is_loopback() {
        return Err(AppError::NotLoopback { listen: settings.listen });
    }
    raise_descriptor_limit();
    // Specs name hosts and networks: they are for this user and its group.
    rustix::process::umask(Mode::RWXO | Mode::WGRP);
    let stop = Stop::on_signals()?;
    let hangup =
        signal(SignalKind::hangup()).map_err(|error| AppError::System { what: "cannot watch for SIGHUP".to_owned(), reason: reason(&error) })?;
    if let Err(error) = std::fs::create_dir_all(&settings.state_dir) {
        tracing::error!("cannot create {}: {}", settings.state_dir.display(), reason(&error));
    }
    let _lock = lock_state(&settings.state_dir)?;
    let token = match Token::load_or_create(&settings.state_dir.join("token"), settings.token_for_group) {
        // A disk that can't be written is no reason to stop a flow.
        Err(error @ TokenError::File { .. }) => {
            tracing::error!("{error}; nobody can call the API");
            Token::unwritten()?
        }
        token => token?,
    };
    let boot_id = format!("{:016x}", fastrand::u64(..));
    let (store, stored) = Store::open(&settings.state_dir);
    let flows = Flows::new(Means::new(settings.buffer_total, store, Some(settings.state_dir.join("flows"))));
    flows.start_stored(stored.flows, stored.counters).await;
    let callback = Callback::new(Arc::clone(&flows.means().events), flows.means().store.clone(), boot_id.clone());
    callback.start_stored(&stored.settings);
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
        callback: Arc::clone(&callback),
        log: log.clone(),
        instance: settings.instance.clone(),
        state_dir: settings.state_dir.clone(),
        boot_id: boot_id.clone(),
        started_at: unix_ms(),
        started: Instant::now(),
        stop: stop.now.clone(),
        metrics_public: settings.table.metrics_public,
        wrong_file: settings.source.wrong.clone(),
    };
    let notify = Notify::from_env();
    let (times, stop_times) = watch::channel(StopTimes::new(settings.table.drain_timeout()));
    let (api_says, api_said) = watch::channel(String::new());
    if let Some(every) = watchdog::period() {
        tokio::spawn(watchdog::feed(notify.clone(), Arc::clone(&flows), every)); // to the very end
    }
    let reload =
        Reload { source: settings.source.clone(), table: settings.table.clone(), flows: Arc::clone(&flows), log, times, notify: notify.clone() };
    let until_stop = [
        tokio::spawn(save_counters(Arc::clone(&flows))),
        tokio::spawn(keep_told(notify.clone(), Arc::clone(&flows), api_said)),
        tokio::spawn(reload.at_each(hangup)),
    ];
    let endpoint_dir = settings.endpoint_dir.clone();
    let mut api = tokio::spawn(serve_api(settings, daemon, token, api_says));
    stop.now.cancelled().await;
    let times = *stop_times.borrow();
    times.enforce();
    let extend = times.all.as_micros() + 1_000_000;
    let stopping = format!("STOPPING=1\nSTATUS=stopping: running connections may end\nEXTEND_TIMEOUT_USEC={extend}");
    tokio::spawn(async move { notify.say(&stopping).await }); // a manager that does not read costs no time
    callback.stop();
    until_stop.iter().for_each(tokio::task::JoinHandle::abort);
    let cut = drain(&flows, times.drain, &stop).await;
    if tokio::time::timeout(API_ENDS_WITHIN, &mut api).await.is_err() {
        api.abort();
    }
    let closing = tokio::time::timeout(STORE_CLOSES_WITHIN, flows.means().store.close());
    let (closed, ()) = tokio::join!(closing, flush_spools());
    if closed.is_err() {
        tracing::error!("the store does not answer: it is left as it is, with everything that it has accepted");
    }
    Endpoint::remove(&endpoint_dir, &boot_id);
    tracing::info!("stopped, {cut} connections cut");
    Ok(())
}

/// Ends the flows, with so much time from now on for their connections; a second signal ends the waiting.
pub async fn drain(flows: &Flows, within: Duration, stop: &Stop) -> usize {
    tracing::info!("stopping: no new clients, running connections have {} s", within.as_secs_f32());
    let over = tokio::time::sleep(within);
    let enough = async {
        tokio::select! {
            () = over => {}
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

/// Serves the API, and says what it does. A port that is taken stops no flow: it is tried again until it is free.
async fn serve_api(settings: Settings, daemon: Daemon, token: Token, says: watch::Sender<String>) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let mut said = false;
    let listener = loop {
        match bind(settings.listen) {
            Ok(listener) => break listener,
            Err(error) => {
                if !said {
                    let text = format!("the API cannot listen on {}: {}", settings.listen, reason(&error));
                    tracing::error!("{text}; flows run, and it is tried again");
                    says.send_replace(text);
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
    Endpoint::of(address, &daemon.boot_id, &daemon.instance, settings.state_dir.join("token")).write(&settings.endpoint_dir);
    tracing::info!("the API listens on {address}");
    says.send_replace(format!("API on {address}"));
    rpc::serve(listener, daemon, token, Limits::default()).await;
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
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
