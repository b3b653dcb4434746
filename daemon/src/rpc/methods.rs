//! What can be called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::types::ErrorObjectOwned;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::table::MethodTable;
use super::{API_MIN, API_VERSION, Daemon, ErrorKind};
use crate::flow::{Applied, CounterValues, Event, Finding, FlowSpec, FlowStatus, Problem, describe_kinds};
use crate::jeedom::CallbackStatus;
use crate::log::{Line, LogLevel};

/// How many polls may wait at the same time. The others are answered at once, so that calls find a connection.
static WAITING_POLLS: Semaphore = Semaphore::const_new(48);

/// The longest wait of a poll.
const LONGEST_WAIT: u64 = 60_000;

/// Defines the parameters of a method: a struct that refuses unknown fields.
macro_rules! params {
    ($(#[$about:meta])* $name:ident { $($(#[$field_about:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct $name { $($(#[$field_about])* $field: $type,)* }
    };
}

params!(/// None.
    Nothing {});
params!(/// Who calls.
Hello {
    /// Name and version of the client, for the log.
    client: String,
    /// The version of the API that it speaks.
    api: u32,
});
params!(/// A level.
SetLogLevel {
    /// The new level.
    level: LogLevel,
});
params!(/// Which lines.
LogTail {
    /// How many at most.
    #[serde(default = "hundred")]
    lines: usize,
    /// Only those about this flow.
    #[serde(default)]
    flow: Option<String>,
    /// Only those with a higher number.
    #[serde(default)]
    after: u64,
});
params!(/// A language.
Kinds {
    /// `en` or `fr`; `fr_FR` is understood. Others get English.
    #[serde(default)]
    language: String,
});
params!(/// A spec to look at.
Check {
    /// The id that the flow would have.
    #[serde(default)]
    id: Option<String>,
    /// Its kind.
    kind: String,
    /// Its spec.
    spec: Value,
});
params!(/// A spec to try out.
Probe {
    /// The flow that has the spec, or would have it: what it listens on already is no obstacle.
    #[serde(default)]
    id: Option<String>,
    /// Its kind.
    kind: String,
    /// Its spec.
    spec: Value,
});
params!(/// A flow.
Apply {
    /// Its id: letters, digits, `.`, `_` and `-`, at most 64.
    id: String,
    /// Who wants it.
    owner: String,
    /// Its kind.
    kind: String,
    /// Its spec; the kind's schema describes it.
    spec: Value,
    /// Whether it is to run.
    #[serde(default = "yes")]
    enabled: bool,
});
params!(/// A flow's id.
Id {
    /// The flow's id.
    id: String,
});
params!(/// All flows of an owner.
Sync {
    /// The owner.
    owner: String,
    /// What it wants.
    flows: Vec<FlowSpec>,
    /// Whether an empty list may remove flows.
    #[serde(default)]
    allow_empty: bool,
});
params!(/// Whose flows.
List {
    /// Only this owner's.
    #[serde(default)]
    owner: Option<String>,
});
params!(/// Which flows.
CountersOf {
    /// Only these; without it, all.
    #[serde(default)]
    ids: Option<Vec<String>>,
});
params!(/// Values of counters.
SetCounters {
    /// The flow's id.
    id: String,
    /// The values, by name. Counters that are not named, and those that say what is now, stay as they are.
    counters: CounterValues,
});
params!(/// From where on, and how long.
PollParams {
    /// The cursor of the last answer; without it, the answer is the cursor of now, at once.
    #[serde(default)]
    cursor: Option<String>,
    /// How long to wait for the first event, at most 60,000.
    #[serde(default)]
    wait_ms: u64,
});

params!(/// Where to post events.
SetCallback {
    /// A page on this machine, as the key goes in clear: `http://`, then `127.0.0.1`, `[::1]` or `localhost`, and a path.
    url: String,
    /// What shows who posts, 8 to 256 printable ASCII characters. It is in the body of each POST, and no answer, log line or dump has it.
    key: String,
});

fn hundred() -> usize {
    100
}

fn yes() -> bool {
    true
}

/// Who answers.
#[derive(Serialize, JsonSchema)]
struct HelloResult {
    /// The daemon's version.
    version: &'static str,
    /// The version of the API that it speaks.
    api: u32,
    /// The oldest that it speaks as well.
    api_min: u32,
    /// Its process id.
    pid: u32,
    /// Differs at every start.
    boot_id: String,
    /// When it started.
    started_at: u64,
    /// For how many seconds it has been running, by a clock that does not jump.
    uptime: u64,
    /// Its instance.
    instance: String,
    /// Where its state is.
    state_dir: String,
    /// What does not work as it should although the daemon runs.
    degraded: Vec<String>,
}

/// Done.
#[derive(Serialize, JsonSchema)]
struct Done {
    /// True.
    ok: bool,
}

/// What is wrong.
#[derive(Serialize, JsonSchema)]
struct CheckResult {
    /// Whether nothing is.
    ok: bool,
    /// Everything that is, each with a JSON pointer into the parameters.
    problems: Vec<Problem>,
}

/// What was found.
#[derive(Serialize, JsonSchema)]
struct ProbeResult {
    /// What was found about each address in the spec, in the order of the form.
    findings: Vec<Finding>,
}

/// What was done.
#[derive(Serialize, JsonSchema)]
struct ApplyResult {
    /// Whether it was new, changed, or so already.
    applied: Applied,
    /// The flow's status after it.
    status: FlowStatus,
}

/// Counters of one flow.
type CountersResult = BTreeMap<String, CounterValues>;

/// Events.
#[derive(Serialize, JsonSchema)]
struct PollResult {
    /// The cursor for the next poll.
    cursor: String,
    /// The events, oldest first.
    events: Vec<Event>,
    /// Whether there were events that are no longer known: read the whole state again.
    missed: bool,
}

const DONE: Done = Done { ok: true };

/// All methods, working on `daemon`.
pub fn method_table(daemon: Daemon) -> MethodTable {
    let mut table = MethodTable::new(daemon);
    daemon_methods(&mut table);
    flow_methods(&mut table);
    callback_methods(&mut table);
    table.add_waiting("event.poll", "Wait for what happens: states, troubles, flows that go.", |d, p: PollParams| async move {
        Ok(poll(&d, p).await)
    });
    table.add("log.tail", "The last lines of the log.", |d, p: LogTail| async move {
        Ok::<Vec<Line>, ErrorObjectOwned>(d.log.tail(p.lines, p.flow.as_deref(), p.after))
    });
    table
}

fn daemon_methods(table: &mut MethodTable) {
    table.add(
        "daemon.hello",
        "Agree on the API's version, and learn who answers.",
        |d, p: Hello| async move { hello(&d, &p) },
    );
    table.add("daemon.set_log_level", "Change how much is logged, until the next start.", |d, p: SetLogLevel| async move {
        d.log.set_level(p.level);
        Ok(DONE)
    });
    table.add(
        "daemon.stop",
        "Stop the daemon: accept no more clients, let connections end for a while, exit.",
        |d, _: Nothing| async move {
            tracing::info!("asked to stop by the API");
            d.stop.cancel();
            Ok(DONE)
        },
    );
}

fn flow_methods(table: &mut MethodTable) {
    table.add("flow.kinds", "Every kind of flow, with title, JSON Schema and counters.", |_, p: Kinds| async move {
        Ok(describe_kinds(&p.language))
    });
    table.add(
        "flow.check",
        "Everything that is wrong with a spec, and the other flows that listen where it would; nothing is started.",
        |d, p: Check| async move {
            let mut problems = d.flows.check(p.id.as_deref(), &p.kind, &p.spec);
            if problems.is_empty() {
                problems = d.flows.clashes(p.id.as_deref(), &p.kind, &p.spec);
            }
            Ok(CheckResult { ok: problems.is_empty(), problems })
        },
    );
    table.add_waiting(
        "flow.probe",
        "Try out the addresses of a spec: whether they can be listened on, and whether they answer. Takes up to 8 s; nothing is started, and nothing is sent.",
        |d, p: Probe| async move { Ok(ProbeResult { findings: d.flows.probe(p.id.as_deref(), &p.kind, &p.spec).await? }) },
    );
    table.add(
        "flow.apply",
        "Create or change a flow. An edit leaves no gap, and running connections finish under the old spec.",
        |d, p: Apply| async move {
            let wanted = FlowSpec { id: p.id, kind: p.kind, spec: p.spec, enabled: p.enabled };
            let applied = d.flows.apply(&p.owner, &wanted).await?;
            Ok(ApplyResult { applied, status: d.flows.status(&wanted.id)? })
        },
    );
    table.add("flow.remove", "End a flow, cut its connections, forget it.", |d, p: Id| async move {
        d.flows.remove(&p.id).await.map(|()| DONE).map_err(Into::into)
    });
    table.add("flow.restart", "Start a flow anew, cutting its connections.", |d, p: Id| async move {
        d.flows.restart(&p.id).await.map(|()| DONE).map_err(Into::into)
    });
    table.add(
        "flow.sync",
        "Make an owner's flows what it wants: start, change, remove; leave unchanged ones alone.",
        |d, p: Sync| async move { d.flows.sync(&p.owner, &p.flows, p.allow_empty).await.map_err(Into::into) },
    );
    table.add("flow.list", "The status of every flow.", |d, p: List| async move {
        Ok::<Vec<FlowStatus>, ErrorObjectOwned>(d.flows.list(p.owner.as_deref()))
    });
    table.add("flow.status", "The status of one flow.", |d, p: Id| async move { d.flows.status(&p.id).map_err(Into::into) });
    table.add("flow.counters", "The counters of flows, by id and name.", |d, p: CountersOf| async move {
        let counters = d.flows.counters(p.ids.as_deref())?;
        Ok::<CountersResult, ErrorObjectOwned>(counters.into_iter().map(|(id, c)| (id, c.values())).collect())
    });
    table.add("flow.reset_counters", "Set a flow's counters to zero and forget its last error.", |d, p: Id| async move {
        d.flows.reset_counters(&p.id).await.map(|()| DONE).map_err(Into::into)
    });
    table.add(
        "flow.set_counters",
        "Set counters of a flow, when a backup is restored. They are saved at once.",
        |d, p: SetCounters| async move { d.flows.set_counters(&p.id, &p.counters).await.map(|()| DONE).map_err(Into::into) },
    );
}

fn callback_methods(table: &mut MethodTable) {
    table.add(
        "callback.set",
        "Post events to a page of this machine's web server, also after a restart. The same once more changes nothing.",
        |d, p: SetCallback| async move { d.callback.set(&p.url, p.key).await.map(|()| DONE).map_err(Into::into) },
    );
    table.add("callback.remove", "Post events no more, and forget where to.", |d, _: Nothing| async move {
        d.callback.remove().await.map(|()| DONE).map_err(Into::into)
    });
    table.add("callback.status", "Where events are posted to, and how that goes.", |d, _: Nothing| async move {
        Ok::<CallbackStatus, ErrorObjectOwned>(d.callback.status())
    });
}

fn hello(daemon: &Daemon, params: &Hello) -> Result<HelloResult, ErrorObjectOwned> {
    if !(API_MIN..=API_VERSION).contains(&params.api) {
        let message = format!(
            "this daemon speaks versions {API_MIN} to {API_VERSION} of the API, not {}: update the older of the two",
            params.api
        );
        return Err(ErrorKind::UnknownVersion.object(message, json!({ "field": "/api", "api": API_VERSION, "api_min": API_MIN })));
    }
    tracing::debug!("hello from {}", crate::text::printable(&params.client, 80));
    Ok(HelloResult {
        version: env!("CARGO_PKG_VERSION"),
        api: API_VERSION,
        api_min: API_MIN,
        pid: std::process::id(),
        boot_id: daemon.boot_id.clone(),
        started_at: daemon.started_at,
        uptime: daemon.started.elapsed().as_secs(),
        instance: daemon.instance.clone(),
        state_dir: daemon.state_dir.display().to_string(),
        degraded: daemon.flows.means().store.degraded().map(str::to_owned).into_iter().chain(daemon.wrong_file.get()).collect(),
    })
}

async fn poll(daemon: &Arc<Daemon>, params: PollParams) -> PollResult {
    let events = &daemon.flows.means().events;
    let cursor = |seq: u64| format!("{}:{seq}", daemon.boot_id);
    let Some(given) = params.cursor else {
        return PollResult { cursor: cursor(events.last_seq()), events: Vec::new(), missed: false };
    };
    let known = given.split_once(':').filter(|(boot, _)| *boot == daemon.boot_id).and_then(|(_, seq)| seq.parse().ok());
    let Some(seq) = known.filter(|seq| *seq <= events.last_seq()) else {
        // A cursor of an earlier start: whatever happened since is not known.
        return PollResult { cursor: cursor(events.last_seq()), events: Vec::new(), missed: true };
    };
    let place = WAITING_POLLS.try_acquire();
    let wait = if place.is_ok() { Duration::from_millis(params.wait_ms.min(LONGEST_WAIT)) } else { Duration::ZERO };
    let polled = tokio::select! {
        polled = events.poll(seq, wait) => polled,
        () = daemon.stop.cancelled() => events.poll(seq, Duration::ZERO).await,
    };
    PollResult { cursor: cursor(polled.seq), events: polled.events, missed: polled.missed }
}
