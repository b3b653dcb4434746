//! The connection tasks of a flow. They belong to the registry, not to the flow's attempt: a flow that fails, panics
//! or is replaced cuts none of them.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use slab::Slab;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The running connection tasks of one flow.
#[derive(Debug, Default)]
pub struct Connections {
    tasks: Mutex<Slab<Option<AbortHandle>>>,
    count: AtomicUsize,
    /// How many of them are no connections of clients.
    own: AtomicUsize,
    one_ended: Notify,
}

/// Takes its task off the list, however it ends.
struct Ticket {
    connections: Arc<Connections>,
    place: usize,
}

/// A connection with its place on the list. An async block would hold the connection twice.
struct Listed<C> {
    connection: C,
    _ticket: Ticket,
}

impl<C: Future<Output = ()> + Unpin> Future for Listed<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.connection).poll(cx)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.connections.tasks.lock().unwrap_or_else(PoisonError::into_inner).try_remove(self.place);
        if self.connections.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.connections.one_ended.notify_waiters();
        }
    }
}

/// Counts a task of the flow's own, as long as it is there.
struct Own(Arc<Connections>);

impl Drop for Own {
    fn drop(&mut self) {
        self.0.own.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connections {
    /// Runs `connection` to its end, or until [`Self::cut`].
    pub fn spawn(self: &Arc<Self>, connection: impl Future<Output = ()> + Send + Unpin + 'static) {
        let place = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(None);
        self.count.fetch_add(1, Ordering::AcqRel);
        let ticket = Ticket { connections: Arc::clone(self), place };
        let task = tokio::spawn(Listed { connection, _ticket: ticket });
        // If it has ended already, its place may be empty, or another's by now; then that one's handle is there.
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(empty @ None) = tasks.get_mut(place)
            && !task.is_finished()
        {
            *empty = Some(task.abort_handle());
        }
    }

    /// Runs a task of the flow's own: it is waited for and cut like a connection, and not counted as one.
    pub fn spawn_own(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        self.own.fetch_add(1, Ordering::AcqRel);
        let own = Own(Arc::clone(self));
        self.spawn(Box::pin(async move {
            let _own = own;
            task.await;
        }));
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        // The flow's own last: of a task that begins or ends meanwhile, no connection too many is told.
        let all = self.count.load(Ordering::Acquire);
        all.saturating_sub(self.own.load(Ordering::Acquire))
    }

    /// Completes when none runs.
    pub async fn ended(&self) {
        loop {
            let ended = self.one_ended.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Ends all that run, and says how many these were.
    pub fn cut(&self) -> usize {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().filter_map(|(_, task)| task.as_ref()).map(AbortHandle::abort).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_knows_who_runs_and_can_cut_them() {
        let connections = Arc::new(Connections::default());
        connections.ended().await;
        connections.spawn(std::future::ready(()));
        connections.ended().await;
        for _ in 0..3 {
            connections.spawn(std::future::pending());
        }
        assert_eq!(connections.count(), 3);
        assert_eq!(connections.cut(), 3);
        connections.ended().await;
        assert_eq!(connections.count(), 0);
    }

    #[tokio::test]
    async fn a_task_of_the_flows_own_is_no_connection() {
        let connections = Arc::new(Connections::default());
        connections.spawn_own(std::future::pending());
        connections.spawn(std::future::pending());
        assert_eq!(connections.count(), 1);
        assert_eq!(connections.cut(), 2);
        connections.ended().await;
        connections.spawn(std::future::pending());
        assert_eq!(connections.count(), 1);
    }

    #[tokio::test]
    async fn a_panic_takes_the_task_off_the_list() {
        let connections = Arc::new(Connections::default());
        connections.spawn(Box::pin(async { panic!("wanted by the test") }));
        connections.ended().await;
    }
}
