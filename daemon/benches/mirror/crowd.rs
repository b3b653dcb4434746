//! The clients that hold thousands of connections at once, in one thread.

use std::net::{SocketAddr, TcpStream as Blocking};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::async_server::write_all;
use crate::pattern::{MESSAGE, Pattern};
use crate::role;

/// Connecting is done this many at a time: the figure is how many are held, not how large a backlog is.
const AT_A_TIME: usize = 200;
/// What each client of [`flood`] sends, in bytes.
const FLOOD: usize = 1_000_000;
const STALLED: Duration = Duration::from_secs(30);

/// Opens `count` connections with a message there and back on each, says so, and for each line on stdin sends another
/// message on all of them.
pub(crate) fn hold(front: SocketAddr, count: usize) -> Result<(), String> {
    let runtime = runtime()?;
    let pattern = Pattern::new();
    let mut held = Vec::with_capacity(count);
    while held.len() < count {
        let first = held.len();
        held.extend(runtime.block_on(connect_all(front, AT_A_TIME.min(count - first)))?);
        runtime.block_on(echo_all(&pattern, &held[first..], first, 0))?;
    }
    role::answer(&json!({ "held": held.len() }));
    let mut round = 0;
    let echoed = role::answer_each_line_or_fail(|| {
        round += 1;
        let began = Instant::now();
        runtime.block_on(echo_all(&pattern, &held, 0, round))?;
        Ok(json!({ "held": held.len(), "seconds": began.elapsed().as_secs_f64() }).to_string())
    });
    drop(held);
    echoed
}

/// `voices` connections that each send their next message when the last is back, for `length`.
pub(crate) fn chorus(front: SocketAddr, voices: usize, length: Duration) -> Result<(Value, Vec<Blocking>), String> {
    let runtime = runtime()?;
    let pattern: &'static Pattern = Box::leak(Box::new(Pattern::new()));
    let connected = runtime.block_on(connect_all(front, voices))?;
    let began = Instant::now();
    let singing = connected.into_iter().enumerate().map(|(n, stream)| sing(pattern, stream, n, began + length));
    let sung = runtime.block_on(join_all(singing))?;
    let seconds = began.elapsed().as_secs_f64();
    let messages: usize = sung.iter().map(|(count, _)| count).sum();
    let held = sung.into_iter().filter_map(|(_, stream)| stream.into_std().ok()).collect();
    Ok((json!({ "bytes": messages * MESSAGE, "per_second": messages as f64 / seconds }), held))
}

async fn sing(pattern: &Pattern, stream: TcpStream, n: usize, until: Instant) -> Result<(usize, TcpStream), String> {
    let mut count = 0;
    while Instant::now() < until {
        let message = pattern.at((n * 301 + count) * MESSAGE, MESSAGE);
        write_all(&stream, message).await.map_err(|e| format!("send on connection {n}: {e}"))?;
        let mut answer = [0; MESSAGE];
        let read = tokio::time::timeout(STALLED, read_exact(&stream, &mut answer)).await;
        read.map_err(|_| format!("echo {count} on connection {n} stalled"))?.map_err(|e| format!("echo: {e}"))?;
        if answer != message {
            return Err(format!("echo {count} on connection {n} has other bytes than were sent"));
        }
        count += 1;
    }
    Ok((count, stream))
}

/// `count` clients at once that each send [`FLOOD`] bytes and a FIN, and then read how many bytes arrived.
pub(crate) fn flood(front: SocketAddr, count: usize) -> Result<(Value, Vec<Blocking>), String> {
    let runtime = runtime()?;
    let pattern: &'static Pattern = Box::leak(Box::new(Pattern::new()));
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let batch = AT_A_TIME.min(count - clients.len());
        clients.extend(runtime.block_on(connect_all(front, batch))?);
    }
    let began = Instant::now();
    let sending = clients.into_iter().enumerate().map(|(n, client)| send_and_count(pattern, client, n));
    runtime.block_on(join_all(sending))?;
    Ok((json!({ "bytes": count * FLOOD, "seconds": began.elapsed().as_secs_f64() }), Vec::new()))
}

/// All of them at once; the first failure ends it.
async fn join_all<T: Send + 'static>(tasks: impl Iterator<Item: Future<Output = Result<T, String>> + Send + 'static>) -> Result<Vec<T>, String> {
    let mut running: JoinSet<_> = tasks.collect();
    let mut results = Vec::with_capacity(running.len());
    while let Some(done) = running.join_next().await {
        results.push(done.map_err(|e| e.to_string())??);
    }
    Ok(results)
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())
}

async fn connect_all(front: SocketAddr, count: usize) -> Result<Vec<TcpStream>, String> {
    join_all((0..count).map(|_| connect(front))).await
}

async fn connect(front: SocketAddr) -> Result<TcpStream, String> {
    let connected = tokio::time::timeout(STALLED, TcpStream::connect(front)).await;
    let stream = connected.map_err(|_| "a connect stalled".to_owned())?.map_err(|e| format!("connect: {e}"))?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(stream)
}

/// Message number `round` on each connection: all are sent before the first is read.
async fn echo_all(pattern: &Pattern, held: &[TcpStream], first: usize, round: usize) -> Result<(), String> {
    let message = |n: usize| pattern.at(((first + n) * 301 + round) * MESSAGE, MESSAGE);
    let trips = async {
        for (n, stream) in held.iter().enumerate() {
            write_all(stream, message(n)).await.map_err(|e| format!("send on connection {n}: {e}"))?;
        }
        for (n, stream) in held.iter().enumerate() {
            let mut answer = [0; MESSAGE];
            read_exact(stream, &mut answer).await.map_err(|e| format!("echo on connection {n}: {e}"))?;
            if answer != message(n) {
                return Err(format!("the echo on connection {n} has other bytes than were sent"));
            }
        }
        Ok(())
    };
    tokio::time::timeout(STALLED, trips).await.map_err(|_| "an echo on a held connection stalled".to_owned())?
}

async fn send_and_count(pattern: &Pattern, client: TcpStream, number: usize) -> Result<(), String> {
    let all = pattern.at(number * 301 * MESSAGE, FLOOD);
    write_all(&client, all).await.map_err(|e| format!("send: {e}"))?;
    socket2::SockRef::from(&client).shutdown(std::net::Shutdown::Write).map_err(|e| format!("shutdown: {e}"))?;
    let mut answer = [0; 8];
    let read = tokio::time::timeout(STALLED, read_exact(&client, &mut answer)).await;
    read.map_err(|_| "no answer after the client's FIN")?
        .map_err(|e| format!("answer after the client's FIN: {e}"))?;
    let arrived = u64::from_le_bytes(answer);
    if arrived == FLOOD as u64 { Ok(()) } else { Err(format!("sent {FLOOD} bytes, the target got {arrived}")) }
}

async fn read_exact(stream: &TcpStream, buffer: &mut [u8]) -> std::io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        stream.readable().await?;
        match stream.try_read(&mut buffer[filled..]) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
