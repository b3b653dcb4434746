//! Which part a process plays.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::asking::Asking;
use crate::client::Client;
use crate::crowd::Crowd;
use crate::{device, role};

/// Plays the role that the arguments name, in the process made for it.
pub(crate) fn play(args: &[&str]) -> Result<(), String> {
    match *args {
        ["serve", name] => device::serve(name),
        ["clients", front, count, asking, milliseconds] => {
            let front: SocketAddr = front.parse().map_err(|e| format!("{front}: {e}"))?;
            let count: usize = count.parse().map_err(|e| format!("{count}: {e}"))?;
            let length = Duration::from_millis(milliseconds.parse().map_err(|e| format!("{milliseconds}: {e}"))?);
            clients(front, count, Asking::of(asking)?, length)
        }
        _ => Err(format!("no role is called {args:?}")),
    }
}

/// Says when all are connected and have an answer; then, for each line, asks for `length` and says what came.
fn clients(front: SocketAddr, count: usize, asking: Asking, length: Duration) -> Result<(), String> {
    let mut run: Box<dyn FnMut() -> Result<Value, String>> = if count == 1 {
        let mut client = Client::connect(front, asking)?;
        Box::new(move || client.run(length))
    } else {
        let mut crowd = Crowd::connect(front, count, asking)?;
        Box::new(move || crowd.run(length))
    };
    role::answer(&json!({ "connected": count }));
    role::answer_each_line_or_fail(|| Ok(run()?.to_string()))
}
