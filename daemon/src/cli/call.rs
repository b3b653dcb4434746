//! `domoflux call`

use serde_json::Value;

use super::client::Which;
use super::{Failure, USAGE, say};

/// Call any method of the API, and print the answer as JSON.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Method, for example flow.list.
    method: String,
    /// Parameters as a JSON object.
    #[arg(default_value = "{}")]
    params: String,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let params: Value = serde_json::from_str(&args.params).map_err(|e| Failure::with_code(format!("the parameters are not JSON: {e}"), USAGE))?;
    match args.which.connect()?.try_call(&args.method, &params)? {
        Ok(result) => say(&format!("{result:#}")),
        Err(error) if error.data.is_null() => Err(Failure::new(error.message)),
        Err(error) => Err(Failure::new(format!("{}\n{:#}", error.message, error.data))),
    }
}
