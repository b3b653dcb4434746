//! `domoflux kinds`, `schema`, `completions` and `man`: documents that come out of the tables.

use std::sync::Arc;

use clap::{CommandFactory, ValueEnum};
use serde_json::json;

use super::{Cli, Failure, say};
use crate::app::Settings;
use crate::config::file_schema;
use crate::flow::{Flows, Means, describe_kinds};
use crate::i18n;
use crate::jeedom::Callback;
use crate::log::{Format, Log, LogLevel};
use crate::multiplexer::protocol::{ALIASES, PROTOCOLS};
use crate::rpc::{Daemon, method_table};
use crate::store::Store;

/// List the kinds of flows, with their fields and counters.
#[derive(clap::Args)]
pub(super) struct KindsArgs {
    /// Language of titles and descriptions: en or fr.
    #[arg(long, default_value = "en")]
    language: String,
    /// Print all of it as JSON, as flow.kinds answers.
    #[arg(long)]
    json: bool,
}

pub(super) fn kinds(args: &KindsArgs) -> Result<(), Failure> {
    let kinds = describe_kinds(&args.language);
    if args.json {
        return say(&format!("{kinds:#}"));
    }
    for kind in kinds.as_array().into_iter().flatten() {
        let text = |key: &str| kind[key].as_str().unwrap_or_default().to_owned();
        say(&format!("{}: {}\n\n  Fields", text("kind"), text("description")))?;
        let required = kind["schema"]["required"].as_array().cloned().unwrap_or_default();
        for (name, field) in kind["schema"]["properties"].as_object().into_iter().flatten() {
            let needed = if required.contains(&json!(name)) { ", required".to_owned() } else { String::new() };
            let default = field.get("default").filter(|d| !d.is_null()).map_or_else(String::new, |d| format!(", default {d}"));
            say(&format!("    {name}{needed}{default}\n        {}", field["description"].as_str().unwrap_or_default()))?;
        }
        say("\n  Counters")?;
        for counter in kind["counters"].as_array().into_iter().flatten() {
            say(&format!(
                "    {:22} {}",
                counter["name"].as_str().unwrap_or_default(),
                counter["title"].as_str().unwrap_or_default()
            ))?;
        }
    }
    Ok(())
}

/// List the protocols that a multiplexer can share a connection of.
#[derive(clap::Args)]
pub(super) struct ProtocolsArgs {
    /// Language of the descriptions: en or fr.
    #[arg(long, default_value = "en")]
    language: String,
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn protocols(args: &ProtocolsArgs) -> Result<(), Failure> {
    let aliases = |name: &str| ALIASES.iter().filter(|(_, of)| *of == name).map(|(alias, _)| *alias).collect::<Vec<_>>();
    let all = PROTOCOLS.iter().map(|protocol| {
        let name = protocol.name();
        // It is translated as the form has it, behind its name.
        let about = i18n::text(&format!("{name} – {}", protocol.about()), &args.language).to_owned();
        let about = about.split_once(" – ").map_or_else(String::new, |(_, about)| about.to_owned());
        (name, aliases(name), about)
    });
    if args.json {
        let all: Vec<_> = all.map(|(name, aliases, about)| json!({"name": name, "aliases": aliases, "description": about})).collect();
        return say(&format!("{:#}", json!(all)));
    }
    let lines: Vec<String> = all.map(|(name, aliases, about)| format!("{name:15} {:7} {about}", aliases.join(", "))).collect();
    say(&format!("{:15} {:7} FRAMES\n{}", "NAME", "ALIAS", lines.join("\n")))
}

/// Print a schema as JSON.
#[derive(clap::Args)]
pub(super) struct SchemaArgs {
    /// Which.
    #[arg(value_enum, default_value = "file")]
    what: What,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// JSON Schema of the configuration file.
    File,
    /// OpenRPC document of the API.
    Api,
    /// Every kind with schema and counters, in English and French.
    Kinds,
}

pub(super) fn schema(args: &SchemaArgs) -> Result<(), Failure> {
    let document = match args.what {
        What::File => file_schema(),
        What::Kinds => json!({"en": describe_kinds("en"), "fr": describe_kinds("fr")}),
        What::Api => openrpc()?,
    };
    say(&format!("{document:#}"))
}

/// The table of methods needs a daemon to work on, but for its document none has to run.
fn openrpc() -> Result<serde_json::Value, Failure> {
    let runtime = super::runtime(1)?;
    let _entered = runtime.enter();
    let settings = Settings::new("default", std::path::PathBuf::new());
    let flows = Flows::new(Means::new(settings.buffer_total, Store::in_memory(), None));
    let daemon = Daemon {
        callback: Callback::new(Arc::clone(&flows.means().events), flows.means().store.clone(), String::new()),
        flows,
        log: Log::start(LogLevel::None, Format::Text),
        instance: settings.instance,
        state_dir: settings.state_dir,
        boot_id: String::new(),
        started_at: 0,
        started: std::time::Instant::now(),
        stop: tokio_util::sync::CancellationToken::new(),
        metrics_public: false,
        wrong_file: crate::service::Wrong::default(),
    };
    Ok(method_table(daemon).openrpc())
}

/// Print a completion script for a shell.
#[derive(clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "domoflux", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())
}

/// Print the manual page, or write one page for each subcommand into a directory.
#[derive(clap::Args)]
pub(super) struct ManArgs {
    /// Write domoflux.1, domoflux-daemon.1 and so on into this directory.
    #[arg(long, value_name = "DIR")]
    dir: Option<std::path::PathBuf>,
}

pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)?;
        return Ok(clap_mangen::generate_to(Cli::command(), dir)?);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    say(String::from_utf8_lossy(&page).trim_end())
}
