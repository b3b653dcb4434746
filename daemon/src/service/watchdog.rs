//! The watchdog: the service manager, or the supervisor, is fed while everything answers that flows depend on. When it
//! is not fed in time, it kills the daemon and starts it again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Notify;
use crate::flow::Flows;

/// How often to feed, if this process is to: half of `WATCHDOG_USEC`.
pub fn period() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    wanted(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id())
}

fn wanted(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None; // it is meant for the process that started this one
    }
    usec?.parse().ok().filter(|usec| *usec > 0).map(|usec: u64| Duration::from_micros(usec) / 2)
}

/// Feeds for ever. This task itself shows that the relaying thread goes on.
pub async fn feed(notify: Notify, flows: Arc<Flows>, every: Duration) {
    let fed = || notify.say("WATCHDOG=1");
    keep_fed(&flows, every, fed).await;
}

async fn keep_fed<F: Future<Output = ()>>(flows: &Flows, every: Duration, fed: impl Fn() -> F) {
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent = false;
    loop {
        ticks.tick().await;
        // A lock that is never given back would hold this thread here, and nobody would be fed.
        flows.list(None);
        let answers = matches!(timeout(every, flows.means().store.ping()).await, Ok(Ok(())));
        match (answers, silent) {
            (true, true) => tracing::info!("the store answers again: the watchdog is fed"),
            (false, false) => tracing::error!("the store does not answer: the watchdog is not fed, which restarts the daemon unless that ends"),
            _ => {}
        }
        silent = !answers;
        if answers {
            fed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::flow::Means;
    use crate::store::Store;

    #[test]
    fn half_of_the_period_and_only_for_the_process_that_is_meant() {
        assert_eq!(wanted(Some("30000000"), Some("7"), 7), Some(Duration::from_secs(15)));
        assert_eq!(wanted(Some("30000000"), None, 7), Some(Duration::from_secs(15)));
        for (usec, pid) in [(Some("30000000"), Some("8")), (Some("30000000"), Some("x")), (Some("0"), None), (Some("x"), None), (None, None)] {
            assert_eq!(wanted(usec, pid, 7), None, "{usec:?} {pid:?}");
        }
    }

    async fn meals(store: Store) -> usize {
        let flows = Flows::new(Means::new(1 << 20, store, None));
        let count = AtomicUsize::new(0);
        let fed = || async {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let _ = timeout(Duration::from_millis(500), keep_fed(&flows, Duration::from_millis(20), fed)).await;
        count.into_inner()
    }

    #[tokio::test]
    async fn it_is_fed_while_the_store_answers_and_not_when_it_hangs() {
        assert!(meals(Store::in_memory()).await >= 2);
        assert_eq!(meals(Store::hung()).await, 0);
    }
}
