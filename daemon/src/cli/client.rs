//! How the command line reaches a daemon that runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{CONFIG, Failure, UNAVAILABLE};
use crate::app::endpoint_file;
use crate::rpc::{API_VERSION, Token};

/// Which daemon.
#[derive(clap::Args, Clone)]
pub(super) struct Which {
    /// Instance whose daemon is meant.
    #[arg(long, global = true, default_value = "default", env = "DOMOFLUX_INSTANCE", help_heading = "Daemon")]
    instance: String,
    /// State directory of the daemon, where its endpoint.json and its token are.
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

impl Which {
    fn state_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.state_dir {
            return Ok(dir.clone());
        }
        // A daemon under systemd keeps its state there, whoever asks.
        let system = PathBuf::from("/var/lib/domoflux").join(&self.instance);
        if endpoint_file(&system).exists() { Ok(system) } else { super::daemon::default_state_dir(&self.instance) }
    }

    /// Finds the daemon and shakes hands.
    pub(super) fn connect(&self) -> Result<Client, Failure> {
        let dir = self.state_dir()?;
        let endpoint: Value = std::fs::read_to_string(endpoint_file(&dir))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let port = endpoint["port"].as_u64().ok_or_else(|| nobody(&dir))?;
        let host = match endpoint["address"].as_str() {
            Some(v6) if v6.contains(':') => format!("[{v6}]"),
            Some(v4) => v4.to_owned(),
            None => "127.0.0.1".to_owned(),
        };
        let token_file = endpoint["token_file"].as_str().map_or_else(|| dir.join("token"), PathBuf::from);
        let token = Token::load(&token_file).map_err(|error| Failure::with_code(error.to_string(), CONFIG))?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(90)))
            .http_status_as_error(false)
            .max_idle_connections(0)
            .build();
        let client = Client { agent: agent.into(), url: format!("http://{host}:{port}/"), token };
        let hello = json!({ "client": format!("domoflux {}", env!("CARGO_PKG_VERSION")), "api": API_VERSION });
        client.call("daemon.hello", hello)?;
        Ok(client)
    }
}

fn nobody(dir: &Path) -> Failure {
    let text = format!(
        "no daemon runs with its state in {}: start one with `domoflux daemon`, or name it with --instance or --state-dir",
        dir.display()
    );
    Failure::with_code(text, UNAVAILABLE)
}

impl Client {
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
