//! Posting what happens, in order and for ever: at once, then at most once a second, and again until it is taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::Key;
use super::post::{NotTaken, Receiver};
use crate::flow::{Backoff, Event, Events, LastError};
use crate::text::unix_ms;

/// The pause after a POST that was taken; what happens meanwhile goes together.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// After how much silence a heartbeat is sent.
const HEARTBEAT: Duration = Duration::from_secs(300);

/// Events in one POST.
const MOST_EVENTS: usize = 100;

/// The pauses after a POST that was not taken.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How far it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The number of the last event that was taken, or that is not for this receiver.
    pub(super) cursor: u64,
    /// `started` is taken.
    pub(super) introduced: bool,
    /// How many events were taken.
    pub(super) delivered: u64,
    /// The last POST was not taken.
    pub(super) failing: bool,
    /// What went wrong last.
    pub(super) last_error: Option<LastError>,
    /// When the last POST was taken.
    pub(super) last_success: Option<u64>,
}

/// The way of events to one receiver.
pub(super) struct Delivery<R> {
    pub(super) receiver: R,
    /// How the receiver is called in the log.
    pub(super) name: String,
    pub(super) key: Key,
    pub(super) boot_id: String,
    pub(super) events: Arc<Events>,
    pub(super) progress: Arc<Mutex<Progress>>,
}

/// What a POST says.
#[derive(Serialize)]
struct Body<'a> {
    key: &'a str,
    boot_id: &'a str,
    version: &'a str,
    missed: bool,
    events: Vec<Said>,
}

/// One event, as it is posted.
#[derive(Serialize)]
struct Said {
    seq: u64,
    at: u64,
    kind: serde_json::Value,
    flow: Option<String>,
    text: Option<String>,
}

/// What is posted in one go.
struct Batch {
    body: Vec<u8>,
    /// The cursor once it is taken.
    cursor: u64,
    count: u64,
}

impl<R: Receiver> Delivery<R> {
    /// Delivers until it is dropped. Nothing wakes it but an event, the end of a pause, and the next heartbeat.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut spoke = Instant::now();
        let mut is_heartbeat = false;
        loop {
            if !is_heartbeat {
                is_heartbeat = !self.anything_by(spoke + HEARTBEAT).await;
            }
            let batch = self.batch(is_heartbeat);
            let posted = self.receiver.post(batch.body).await;
            spoke = Instant::now();
            match posted {
                Ok(()) => {
                    self.taken(batch.cursor, batch.count);
                    backoff.reset();
                    is_heartbeat = false;
                    tokio::time::sleep(AT_MOST_EVERY).await;
                }
                Err(why) => {
                    self.not_taken(&why);
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// Waits for something to say; `false` if there is nothing by then.
    async fn anything_by(&self, then: Instant) -> bool {
        let (cursor, introduced) = {
            let progress = self.progress();
            (progress.cursor, progress.introduced)
        };
        !introduced || tokio::time::timeout_at(then, self.events.after(cursor)).await.is_ok()
    }

    /// What there is to say now. It is put together anew for every attempt: what is no longer kept is missed.
    fn batch(&self, is_heartbeat: bool) -> Batch {
        let (cursor, introduced) = {
            let progress = self.progress();
            (progress.cursor, progress.introduced)
        };
        let own = |kind: &str| Said { seq: cursor, at: unix_ms(), kind: kind.into(), flow: None, text: None };
        let mut said = Vec::new();
        if !introduced {
            said.push(own("started"));
        }
        let found = self.events.look(cursor, MOST_EVENTS - said.len());
        said.extend(found.events.into_iter().map(Said::from));
        if said.is_empty() && is_heartbeat {
            said.push(own("heartbeat"));
        }
        let body = Body { key: self.key.reveal(), boot_id: &self.boot_id, version: env!("CARGO_PKG_VERSION"), missed: found.missed, events: said };
        let count = body.events.len() as u64;
        Batch { body: serde_json::to_vec(&body).unwrap_or_default(), cursor: found.seq, count }
    }

    fn taken(&self, cursor: u64, count: u64) {
        let mended = {
            let mut progress = self.progress();
            progress.cursor = cursor;
            progress.introduced = true;
            progress.delivered += count;
            progress.last_success = Some(unix_ms());
            std::mem::replace(&mut progress.failing, false)
        };
        if mended {
            tracing::info!("Jeedom is told what happens again, by {}", self.name);
        }
    }

    fn not_taken(&self, why: &NotTaken) {
        let text = format!("cannot tell Jeedom what happens, by {}: {why}", self.name);
        let is_news = {
            let mut progress = self.progress();
            progress.last_error = Some(LastError { text: text.clone(), at: unix_ms() });
            !std::mem::replace(&mut progress.failing, true)
        };
        if is_news {
            tracing::warn!("{text}; the last {} events are kept, and it is tried again", crate::flow::EVENTS_KEPT);
        } else {
            tracing::debug!("{text}");
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Event> for Said {
    fn from(event: Event) -> Self {
        let kind = serde_json::to_value(event.kind).unwrap_or_default();
        Self { seq: event.seq, at: event.at, kind, flow: Some(event.flow), text: event.text }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::sync::mpsc;

    use super::*;
    use crate::flow::{EVENTS_KEPT, EventKind};

    /// Tells the test what was posted and when, and answers what the test wants.
    struct Scripted(mpsc::UnboundedSender<(Instant, Value)>, Arc<Mutex<Result<(), NotTaken>>>);

    impl Receiver for Scripted {
        async fn post(&self, body: Vec<u8>) -> Result<(), NotTaken> {
            self.0.send((Instant::now(), serde_json::from_slice(&body).expect("JSON"))).expect("the test listens");
            self.1.lock().expect("whole").clone()
        }
    }

    struct Bench {
        events: Arc<Events>,
        posts: mpsc::UnboundedReceiver<(Instant, Value)>,
        answer: Arc<Mutex<Result<(), NotTaken>>>,
        progress: Arc<Mutex<Progress>>,
    }

    impl Bench {
        fn start(answer: Result<(), NotTaken>) -> Self {
            let (tells, posts) = mpsc::unbounded_channel();
            let (events, answer, progress) = (Arc::<Events>::default(), Arc::new(Mutex::new(answer)), Arc::<Mutex<Progress>>::default());
            let delivery = Delivery {
                receiver: Scripted(tells, Arc::clone(&answer)),
                name: "http://127.0.0.1/".to_owned(),
                key: Key::new("a-secret-key".to_owned()).expect("right"),
                boot_id: "b".to_owned(),
                events: Arc::clone(&events),
                progress: Arc::clone(&progress),
            };
            tokio::spawn(delivery.run());
            Self { events, posts, answer, progress }
        }

        fn happens(&self, count: usize) {
            (0..count).for_each(|_| self.events.push(Event::new(EventKind::Status, "panel", Some("serving".to_owned()))));
        }

        async fn post(&mut self) -> (Instant, Value) {
            self.posts.recv().await.expect("it delivers")
        }
    }

    fn seqs(post: &Value) -> Vec<u64> {
        post["events"].as_array().expect("events").iter().map(|e| e["seq"].as_u64().expect("seq")).collect()
    }

    fn refused() -> Result<(), NotTaken> {
        Err(NotTaken::Status { status: 500 })
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_event_goes_at_once_and_those_of_the_next_second_together() {
        let mut bench = Bench::start(Ok(()));
        let (begun, post) = bench.post().await;
        assert_eq!(
            (&post["events"][0]["kind"], &post["key"], &post["boot_id"]),
            (&"started".into(), &"a-secret-key".into(), &"b".into())
        );
        assert_eq!((&post["missed"], &post["events"][0]["flow"]), (&false.into(), &Value::Null));
        bench.happens(3);
        let (at, post) = bench.post().await;
        assert_eq!((at - begun, seqs(&post)), (AT_MOST_EVERY, vec![1, 2, 3]));
        assert_eq!((&post["events"][0]["kind"], &post["events"][0]["flow"]), (&"status".into(), &"panel".into()));
        tokio::time::sleep(Duration::from_secs(60)).await;
        bench.happens(1);
        let before = Instant::now();
        let (at, post) = bench.post().await;
        assert_eq!((at - before, seqs(&post)), (Duration::ZERO, vec![4]));
        assert_eq!(bench.progress.lock().expect("whole").delivered, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_every_five_minutes_and_not_before() {
        let mut bench = Bench::start(Ok(()));
        let (begun, _) = bench.post().await;
        let (at, post) = bench.post().await;
        assert_eq!((at - begun, &post["events"][0]["kind"]), (HEARTBEAT, &"heartbeat".into()));
        let (next, post) = bench.post().await;
        assert_eq!((next - at, &post["events"][0]["kind"]), (HEARTBEAT, &"heartbeat".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_is_posted_again_in_order_after_longer_and_longer_pauses() {
        let mut bench = Bench::start(refused());
        let (mut last, _) = bench.post().await;
        bench.happens(250);
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let (at, post) = bench.post().await;
            let pause = (at - last).as_secs_f64();
            assert!((expected * 0.75..=expected).contains(&pause), "{pause} for {expected}");
            assert_eq!(post["events"].as_array().expect("events").len(), MOST_EVENTS);
            last = at;
        }
        assert!(bench.progress.lock().expect("whole").failing);
        *bench.answer.lock().expect("whole") = Ok(());
        let mut all = Vec::new();
        while all.len() < 251 {
            let (_, post) = bench.post().await;
            assert_eq!(post["missed"], false);
            all.extend(seqs(&post));
        }
        assert_eq!(all, (0..=250).collect::<Vec<_>>(), "`started` and all events, once each");
        let progress = bench.progress.lock().expect("whole").clone();
        assert!(!progress.failing && progress.last_error.is_some() && progress.last_success.is_some(), "{progress:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_longer_kept_is_said_to_be_missed() {
        let mut bench = Bench::start(refused());
        bench.post().await;
        bench.happens(EVENTS_KEPT + 1);
        let (_, post) = bench.post().await;
        assert_eq!((&post["missed"], seqs(&post)[1]), (&true.into(), 2));
        *bench.answer.lock().expect("whole") = Ok(());
        let (_, post) = bench.post().await;
        assert_eq!(post["missed"], true);
        let (_, post) = bench.post().await;
        assert_eq!((&post["missed"], seqs(&post)[0]), (&false.into(), 101));
    }
}
