//! Names of hosts. The system's resolver blocks a thread for as long as its servers are silent, so all who want the
//! same name at the same time share one question.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use crate::text::reason;

type Answer = Result<Vec<IpAddr>, String>;
type Questions = HashMap<String, Shared<BoxFuture<'static, Answer>>>;

/// The questions that are not answered yet.
fn questions() -> MutexGuard<'static, Questions> {
    static QUESTIONS: LazyLock<Mutex<Questions>> = LazyLock::new(Mutex::default);
    QUESTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The addresses of a host.
pub(crate) async fn resolve(host: &str) -> Answer {
    let question = questions().entry(host.to_owned()).or_insert_with(|| ask(host.to_owned()).boxed().shared()).clone();
    question.await
}

async fn ask(host: String) -> Answer {
    let name = host.clone();
    // It runs to its end even if nobody waits for it any more, and only then may the name be asked for again.
    let asking = tokio::task::spawn_blocking(move || {
        let found = (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|at| at.ip()).collect::<Vec<_>>());
        questions().remove(&name);
        found.map_err(|error| lookup_reason(&error))
    });
    asking.await.unwrap_or_else(|_| {
        questions().remove(&host);
        Err("the resolver failed".to_owned())
    })
}

/// The resolver's reason without its C prefix.
fn lookup_reason(error: &io::Error) -> String {
    let text = reason(error);
    text.strip_prefix("failed to lookup address information: ")
        .map_or(text.clone(), |why| format!("its name does not resolve: {}", why.to_lowercase()))
}
