//! Looks after what no connection looks after: requests that wait too long, figures that get old, the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::counters::C;
use super::desk::Desk;
use super::hub::Hub;
use super::lane::Lane;
use super::link::until;
use super::post::Post;
use super::protocol::Refusal;

/// How often the times of answers are counted anew while there are more, and while they only get old.
const REFRESH: Duration = Duration::from_secs(1);
const REFRESH_OLD: Duration = Duration::from_secs(10);

/// Runs until the hub is retired and its connections are closed.
pub(super) async fn run(hub: Arc<Hub>, desk: Arc<Desk>) {
    let _end = End { hub: &hub, desk: &desk };
    let mut refresh_at: Option<Instant> = None;
    loop {
        let (look_at, has_times, has_ended) = {
            let mut state = hub.state();
            (
                state.next_look(Instant::now()),
                (!state.latency.is_empty()).then(|| state.latency.is_new()),
                state.lanes.iter().all(Lane::has_ended),
            )
        };
        if hub.is_retired() && has_ended {
            return;
        }
        refresh_at = has_times.map(|is_new| refresh_at.unwrap_or_else(|| Instant::now() + if is_new { REFRESH } else { REFRESH_OLD }));
        tokio::select! {
            () = hub.attention.notified() => {}
            () = until(look_at) => refuse_overdue(&hub),
            () = until(refresh_at) => {
                refresh_at = None;
                refresh(&hub);
            }
        }
    }
}

/// The end of a hub, however it comes.
struct End<'a> {
    hub: &'a Hub,
    desk: &'a Desk,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if self.desk.hub().is_none() {
            for gauge in [C::QueueDepth, C::InFlight, C::LatencyP50, C::LatencyP99, C::TargetInUse] {
                self.hub.counters.set(gauge as usize, 0);
            }
        }
        self.desk.note_end();
        self.hub.ended.cancel();
    }
}

fn refresh(hub: &Hub) {
    let (p50, p99) = hub.state().latency.p50_p99(Instant::now());
    if !hub.is_retired() {
        hub.counters.set(C::LatencyP50 as usize, p50);
        hub.counters.set(C::LatencyP99 as usize, p99);
    }
}

/// Tells those who have waited too long to be sent: there is no way to the device, or it is too slow for all who ask.
fn refuse_overdue(hub: &Hub) {
    let Some(before) = Instant::now().checked_sub(hub.spec.timeout.0) else { return };
    let mut post = Post::new(hub);
    let mut state = hub.state();
    for lane in 0..state.lanes.len() {
        let is_up = state.lanes.get(lane).is_some_and(Lane::is_up);
        let overdue = state.take_waiting(lane, before);
        if !overdue.is_empty() {
            let device = hub.device(lane);
            let why = if is_up { "it is too slow for all that is asked" } else { "it is not connected" };
            hub.report.happened(
                &format_args!("queue of {device}"),
                &format!("device {device}: requests have waited for {}: {why}", hub.spec.timeout),
            );
        }
        let refusal = if is_up { Refusal::Silent } else { Refusal::NoPath };
        for request in &overdue {
            state.note_failed(request);
            post.refuse_all(request, refusal);
        }
    }
    hub.show(&state);
    drop(state);
    post.send();
}
