//! How the command line reaches a daemon that runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{CONFIG, Failure, UNAVAILABLE};
use crate::rpc::{API_VERSION, Token};
use crate::service::Endpoint;
use crate::service::endpoint::{self, Found, file_in};
use crate::text::reason;

/// Which daemon.
#[derive(clap::Args, Clone)]
pub(super) struct Which {
    /// Instance whose daemon is meant.
    #[arg(long, global = true, default_value = "default", env = "DOMOFLUX_INSTANCE", help_heading = "Daemon")]
    instance: String,
    /// State directory of a daemon that was started with --state-dir: its endpoint.json is there.
    #[arg(long, global = true, value_name = "DIR", env = "DOMOFLUX_STATE_DIR", help_heading = "Daemon")]
    state_dir: Option<PathBuf>,
}

/// A daemon that answers.
pub(super) struct Client {
    agent: ureq::Agent,
    url: String,
    token: Token,
}

/// An error of the API.
pub(super) struct ApiError {
    pub(super) message: String,
    pub(super) data: Value,
}

/// Why a daemon was not found in a place where an endpoint.json is.
struct Miss(Failure);

impl Which {
    /// The instance that is meant.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// Where an endpoint.json may be: in the state directory that was named, else wherever daemons of the instance write it.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        match &self.state_dir {
            Some(dir) => vec![dir.clone()],
            None => endpoint::directories(&self.instance, super::daemon::default_state_dir(&self.instance).ok()),
        }
    }

    /// Finds the daemon and shakes hands.
    pub(super) fn connect(&self) -> Result<Client, Failure> {
        super::check_instance(&self.instance)?;
        let directories = self.directories();
        let mut missed = None;
        for dir in &directories {
            match Endpoint::find(dir) {
                Found::Nothing => {}
                Found::Unreadable(error) => {
                    let text = format!("{} can't be read: {}{}", file_in(dir).display(), reason(&error), advice(&error));
                    missed.get_or_insert(Failure::with_code(text, CONFIG));
                }
                Found::Endpoint(endpoint) => match Client::of(&endpoint, dir) {
                    Ok(client) => return Ok(client),
                    Err(Miss(failure)) => drop(missed.get_or_insert(failure)),
                },
            }
        }
        Err(missed.unwrap_or_else(|| nobody(&self.instance, &directories)))
    }
}

/// What helps who may not read something.
fn advice(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::PermissionDenied { "; it is for root and for the group of the daemon" } else { "" }
}

fn nobody(instance: &str, directories: &[PathBuf]) -> Failure {
    let places = directories.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ");
    let text = format!(
        "no daemon runs as instance {instance:?}, as there is no endpoint.json in {places}: start one with `domoflux daemon`, or name it with --instance or --state-dir"
    );
    Failure::with_code(text, UNAVAILABLE)
}

impl Client {
    /// The daemon that wrote an endpoint.json, if it still runs. The token is not shown to whoever else is there.
    fn of(endpoint: &Endpoint, dir: &Path) -> Result<Self, Miss> {
        let file = file_in(dir);
        let gone = |why: &str| {
            let text = format!("the daemon of {} does not answer: {why}; it was killed, or the machine lost power", file.display());
            Miss(Failure::with_code(text, UNAVAILABLE))
        };
        if !endpoint.has_process() {
            return Err(gone(&format!("there is no process {} any more", endpoint.pid)));
        }
        let token = Token::load(&endpoint.token_file).map_err(|error| {
            let denied = std::fs::File::open(&endpoint.token_file).err().map_or("", |error| advice(&error));
            Miss(Failure::with_code(format!("{error}{denied}"), CONFIG))
        })?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(90)))
            .http_status_as_error(false)
            .max_idle_connections(0)
            .build();
        let url = format!("http://{}/", std::net::SocketAddr::new(endpoint.address, endpoint.port));
        let client = Self { agent: agent.into(), url, token };
        let hello = json!({ "client": format!("domoflux {}", env!("CARGO_PKG_VERSION")), "api": API_VERSION });
        let hello = client.call("daemon.hello", hello).map_err(Miss)?;
        if hello["boot_id"] != endpoint.boot_id.as_str() {
            return Err(gone("another start of it, or another daemon, has its port"));
        }
        Ok(client)
    }

    /// The token, which a document that leaves the machine must not have.
    pub(super) fn token(&self) -> &str {
        self.token.secret()
    }

    /// What `/metrics` says.
    pub(super) fn metrics(&self) -> Option<String> {
        let request = self.agent.get(format!("{}metrics", self.url)).header("Authorization", self.token.bearer());
        request.call().ok()?.body_mut().read_to_string().ok()
    }

    /// Calls a method; an error of the API becomes a failure with its text.
    #[expect(clippy::needless_pass_by_value, reason = "a call reads better with its json!() in place")]
    pub(super) fn call(&self, method: &str, params: Value) -> Result<Value, Failure> {
        self.try_call(method, &params)?.map_err(|error| {
            let mut text = error.message;
            for problem in error.data["problems"].as_array().into_iter().flatten() {
                let _ = write!(
                    text,
                    "\n  {}: {}",
                    problem["pointer"].as_str().unwrap_or_default(),
                    problem["message"].as_str().unwrap_or_default()
                );
            }
            Failure::new(text)
        })
    }

    /// Calls a method; the inner error is the API's.
    pub(super) fn try_call(&self, method: &str, params: &Value) -> Result<Result<Value, ApiError>, Failure> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let unreachable = |why: String| Failure::with_code(format!("the daemon at {} does not answer: {why}", self.url), UNAVAILABLE);
        let mut response = self
            .agent
            .post(&self.url)
            .header("Authorization", self.token.bearer())
            .send_json(&request)
            .map_err(|e| unreachable(why(e)))?;
        let status = response.status();
        let mut answer: Value = response.body_mut().with_config().limit(64 << 20).read_json().map_err(|e| unreachable(why(e)))?;
        if !status.is_success() {
            return Err(Failure::new(answer["error"].as_str().map_or_else(|| format!("the daemon answers {status}"), str::to_owned)));
        }
        if let Some(error) = answer.get("error") {
            let message = error["message"].as_str().unwrap_or("unknown error").to_owned();
            return Ok(Err(ApiError { message, data: error["data"].clone() }));
        }
        Ok(Ok(answer["result"].take()))
    }
}

fn why(error: ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => crate::text::reason(&error),
        other => other.to_string(),
    }
}
