//! Which part a process plays.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{client, crowd, role, server};

/// Plays the role that the arguments name, in the process made for it.
pub(crate) fn play(args: &[&str]) -> Result<(), String> {
    if let ["serve", mode] = args {
        return server::serve(mode);
    }
    let [name, front, rest @ ..] = args else { return Err("a role and an address are needed".to_owned()) };
    let front: SocketAddr = front.parse().map_err(|e| format!("{front}: {e}"))?;
    let number = |n: usize| rest.get(n).and_then(|v| v.parse().ok()).unwrap_or(0_usize);
    let length = |n: usize| Duration::from_millis(number(n) as u64);
    let (result, held) = match *name {
        "hold" => return crowd::hold(front, number(0)),
        "flood" => crowd::flood(front, number(0)),
        "bulk" => client::bulk(front, length(0)),
        "echo" => client::echo(front, number(0)),
        "chorus" => crowd::chorus(front, number(0), length(1)),
        "visits" => client::visits(front, length(0)),
        other => Err(format!("no role is called {other}")),
    }?;
    role::answer_and_hold(&result, held);
    Ok(())
}
