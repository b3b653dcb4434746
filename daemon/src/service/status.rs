//! The line that `systemctl status` shows: what runs, and whether the API does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Notify;
use crate::flow::Flows;

/// Changes that come together are told together.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// How long to wait for a change of the flows; there is no other reason to look.
const LONG: Duration = Duration::from_secs(86_400);

/// Tells the manager that the daemon is ready as soon as `api` has something to say, then what changes, for ever.
/// What `api` says is where the API listens, or why it doesn't: flows run either way.
pub async fn keep_told(notify: Notify, flows: Arc<Flows>, mut api: watch::Receiver<String>) {
    if !notify.is_heard() || api.wait_for(|text| !text.is_empty()).await.is_err() {
        return;
    }
    let events = &flows.means().events;
    let mut seq = events.last_seq();
    let mut said = line(&flows, &api.borrow_and_update());
    notify.say(&format!("READY=1\nSTATUS={said}")).await;
    loop {
        tokio::select! {
            changed = api.changed() => if changed.is_err() { return },
            _ = events.poll(seq, LONG) => {}
        }
        tokio::time::sleep(AT_MOST_EVERY).await;
        seq = events.last_seq();
        let now = line(&flows, &api.borrow_and_update());
        if now != said {
            notify.say(&format!("STATUS={now}")).await;
            said = now;
        }
    }
}

/// How the flows are and what the API does, for example `3 flows, 2 listening; API on 127.0.0.1:55170`.
fn line(flows: &Flows, api: &str) -> String {
    let statuses = flows.list(None);
    let listening = statuses.iter().filter(|s| s.is_listening).count();
    let many = if statuses.len() == 1 { "flow" } else { "flows" };
    let degraded = flows.means().store.degraded().map_or("", |_| "; degraded, see `domoflux status`");
    format!("{} {many}, {listening} listening; {api}{degraded}", statuses.len())
}
