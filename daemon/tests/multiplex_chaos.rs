//! A device that does everything wrong at random, and clients that check every answer. `DOMOFLUX_ANSWERS=10000000` checks more
//! of them, with less going wrong at a time.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::*;

/// How long the multiplexer waits for an answer.
const TIMEOUT: Duration = Duration::from_millis(150);

/// How often something goes wrong, in a million requests.
#[derive(Clone, Copy)]
struct Odds {
    /// It stops the connection, or its answer never comes.
    lost: u32,
    /// The answer is good, and comes in an odd way.
    odd: u32,
}

/// What the device has seen.
#[derive(Default)]
struct Seen {
    writes: Mutex<HashSet<u32>>,
    /// What was written last, by address.
    written: Mutex<HashMap<u16, u32>>,
    twice: AtomicU64,
    requests: AtomicU64,
}

/// From here on, registers hold what was written to them, and each client has its own.
const OWN: u16 = 1000;

/// What a register holds.
fn register(unit: u8, address: u16) -> u16 {
    let mixed = (u32::from(unit) << 16 | u32::from(address)).wrapping_mul(0x9e37_79b9);
    (mixed >> 13) as u16
}

fn registers(unit: u8, first: u16, count: u16) -> Vec<u8> {
    (0..count).flat_map(|i| register(unit, first.wrapping_add(i)).to_be_bytes()).collect()
}

fn frame(id: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(7 + pdu.len());
    frame.extend(id.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend((pdu.len() as u16 + 1).to_be_bytes());
    frame.push(unit);
    frame.extend(pdu);
    frame
}

async fn read_frame(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<(u16, u8, Vec<u8>)> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    let mut pdu = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 1];
    stream.read_exact(&mut pdu).await?;
    Ok((u16::from_be_bytes([head[0], head[1]]), head[6], pdu))
}

fn answer_to(seen: &Seen, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let at = |i: usize| u16::from_be_bytes([pdu[i], pdu[i + 1]]);
    match pdu[0] {
        3 if at(1) >= OWN => {
            let number = seen.written.lock().unwrap().get(&at(1)).copied().unwrap_or(0);
            [&[3, 4][..], &number.to_be_bytes()].concat()
        }
        3 | 4 => [&[pdu[0], (at(3) * 2) as u8][..], &registers(unit, at(1), at(3))].concat(),
        16 => {
            let number = u32::from_be_bytes(pdu[6..10].try_into().unwrap());
            if !seen.writes.lock().unwrap().insert(number) {
                seen.twice.fetch_add(1, Relaxed);
            }
            seen.written.lock().unwrap().insert(at(1), number);
            pdu[..5].to_vec()
        }
        other => vec![other | 0x80, 1],
    }
}

/// What is to be sent, when, and whether the connection ends with it.
struct Deed {
    after: Duration,
    data: Vec<u8>,
    ends: bool,
}

async fn device(stream: TcpStream, seen: Arc<Seen>, odds: Odds) {
    let _ = stream.set_nodelay(true);
    let (mut read, mut write) = stream.into_split();
    let (sender, mut queue) = mpsc::unbounded_channel::<Deed>();
    // In one piece with its end: nothing may come between a part of an answer and the end.
    let writer = async {
        while let Some(Deed { data, ends, .. }) = queue.recv().await {
            let piece = if data.len() > 30 && fastrand::u8(..20) == 0 { 1 } else { data.len().max(1) };
            for piece in data.chunks(piece) {
                if write.write_all(piece).await.is_err() {
                    return;
                }
            }
            if ends {
                return;
            }
        }
    };
    let reader = async {
        while let Ok((id, unit, pdu)) = read_frame(&mut read).await {
            seen.requests.fetch_add(1, Relaxed);
            for deed in deeds(&frame(id, unit, &answer_to(&seen, unit, &pdu)), odds) {
                let sender = sender.clone();
                if deed.after.is_zero() {
                    drop(sender.send(deed));
                } else {
                    tokio::spawn(async move {
                        tokio::time::sleep(deed.after).await;
                        drop(sender.send(deed));
                    });
                }
            }
        }
    };
    tokio::select! {
        () = reader => {}
        () = writer => {}
    }
}

fn deeds(answer: &[u8], odds: Odds) -> Vec<Deed> {
    let chance = fastrand::u32(..1_000_000);
    let now = Duration::ZERO;
    let soon = Duration::from_millis(fastrand::u64(0..40));
    let late = TIMEOUT + Duration::from_millis(fastrand::u64(0..200));
    let send = |after, data: &[u8]| Deed { after, data: data.to_vec(), ends: false };
    let end = |after, data: &[u8]| Deed { after, data: data.to_vec(), ends: true };
    if chance < odds.lost {
        return match fastrand::u8(..6) {
            0 => vec![],                                                     // it never comes
            1 => vec![send(late, answer)],                                   // it comes when nobody waits for it any more
            2 => vec![end(now, &answer[..fastrand::usize(..answer.len())])], // the connection ends at any byte
            3 => vec![end(soon, &[])],                                       // and without a byte
            4 => vec![end(now, answer)],                                     // and after the answer
            _ => vec![end(now, &[0xff; 20])],                                // what is no frame at all
        };
    }
    if chance < odds.lost + odds.odd {
        let mut other = answer.to_vec();
        return match fastrand::u8(..5) {
            0 => vec![send(soon, answer)],
            1 => vec![send(now, answer), send(now, answer)],
            2 => vec![send(now, answer), send(soon, answer)],
            3 => {
                other[0] ^= 0x80; // an id that nobody has asked with
                vec![send(now, &other), send(now, answer)]
            }
            _ => {
                other[7] ^= 1; // another function
                vec![send(now, &other), send(now, answer)]
            }
        };
    }
    vec![send(now, answer)]
}

/// What the clients have found.
#[derive(Default)]
struct Found {
    right: AtomicU64,
    refused: AtomicU64,
    wrong: Mutex<Vec<String>>,
    confirmed: Mutex<Vec<u32>>,
    next_write: std::sync::atomic::AtomicU32,
}

/// Asks, `burst` requests at a time, and checks what comes back.
async fn client(at: SocketAddr, found: Arc<Found>, enough: u64, burst: usize, own: u16) {
    // What it has written, as far as that is known.
    let mut mine = None;
    let done = |found: &Found| found.right.load(Relaxed) >= enough || !found.wrong.lock().unwrap().is_empty();
    while !done(&found) {
        let Ok(mut stream) = TcpStream::connect(at).await else { continue };
        let _ = stream.set_nodelay(true);
        let turns = fastrand::u32(1..2000);
        for _ in 0..turns {
            if done(&found) {
                return;
            }
            let mut asked = Vec::new();
            for n in 0..burst {
                let id = fastrand::u16(..4096) * 8 + n as u16;
                let (mut unit, address) = (fastrand::u8(1..4), fastrand::u16(..200));
                let pdu = if fastrand::u8(..10) == 0 {
                    let number = found.next_write.fetch_add(1, Relaxed);
                    mine = None;
                    unit = 1;
                    [&[16][..], &own.to_be_bytes(), &[0, 2, 4], &number.to_be_bytes()].concat()
                } else if fastrand::u8(..5) == 0 {
                    unit = 1; // a write is a barrier for its own unit
                    [&[3][..], &own.to_be_bytes(), &[0, 2]].concat()
                } else {
                    [&[fastrand::u8(3..5)][..], &address.to_be_bytes(), &fastrand::u16(1..20).to_be_bytes()].concat()
                };
                asked.push((id, unit, pdu));
            }
            let bytes: Vec<u8> = asked.iter().flat_map(|(id, unit, pdu)| frame(*id, *unit, pdu)).collect();
            if stream.write_all(&bytes).await.is_err() {
                break;
            }
            if fastrand::u16(..5000) == 0 {
                break; // it goes without waiting
            }
            while !asked.is_empty() {
                let (id, unit, got) = match timeout(PATIENCE, read_frame(&mut stream)).await {
                    Ok(Ok(answer)) => answer,
                    other => return found.wrong.lock().unwrap().push(format!("{other:?} instead of an answer to {asked:?}")),
                };
                let Some(place) = asked.iter().position(|(asked, ..)| *asked == id) else {
                    return found.wrong.lock().unwrap().push(format!("an answer with id {id}: {got:?} to {asked:?}"));
                };
                let (_, asked_unit, pdu) = asked.remove(place);
                if let Err(why) = check(&found, &pdu, &got) {
                    return found.wrong.lock().unwrap().push(why);
                }
                if unit != asked_unit {
                    return found.wrong.lock().unwrap().push(format!("unit {unit}, not {asked_unit}"));
                }
                let of_own = u16::from_be_bytes([pdu[1], pdu[2]]) == own;
                if burst == 1 && got[0] == 16 {
                    mine = Some(pdu[6..10].to_vec());
                }
                if of_own && got[0] == 3 && mine.as_ref().is_some_and(|mine| got[2..] != *mine) {
                    return found.wrong.lock().unwrap().push(format!("{got:?} is read, but {mine:?} was written"));
                }
                if got[0] < 0x80 && got[0] != 16 && !of_own && got[2..] != registers(unit, u16::from_be_bytes([pdu[1], pdu[2]]), pdu[4].into()) {
                    return found.wrong.lock().unwrap().push(format!("{got:?} to {pdu:?} of unit {unit}"));
                }
            }
        }
    }
}

fn check(found: &Found, pdu: &[u8], got: &[u8]) -> Result<(), String> {
    if got[0] == pdu[0] | 0x80 && matches!(got[1], 4 | 0x0a | 0x0b) {
        found.refused.fetch_add(1, Relaxed);
        return Ok(());
    }
    if got[0] != pdu[0] || (got[0] == 16 && got != &pdu[..5]) {
        return Err(format!("{got:?} to {pdu:?}"));
    }
    if got[0] == 16 {
        found.confirmed.lock().unwrap().push(u32::from_be_bytes(pdu[6..10].try_into().unwrap()));
    }
    found.right.fetch_add(1, Relaxed);
    Ok(())
}

fn run(spec: Value, odds: Odds, share: u64) {
    let wanted: u64 = std::env::var("DOMOFLUX_ANSWERS").map_or(12_000, |n| n.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let daemon = Daemon::start();
    let (seen, found) = (Arc::<Seen>::default(), Arc::<Found>::default());
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spec = spec
            .with("/listen", "127.0.0.1:0")
            .with("/target", listener.local_addr().unwrap().to_string())
            .with("/timeout", "150ms");
        let at = daemon.flow("multiplexer", "chaos", &spec);
        let devices = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(device(stream, Arc::clone(&devices), odds));
            }
        });
        let clients: Vec<_> = (0..40)
            .map(|n| tokio::spawn(client(at, Arc::clone(&found), wanted / share, if n % 4 == 0 { 5 } else { 1 }, OWN + 2 * n)))
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    });
    let counters = || daemon.counters("chaos");
    assert_eq!(*found.wrong.lock().unwrap(), [""; 0], "{}", counters());
    assert_eq!(seen.twice.load(Relaxed), 0, "writes that the device got twice");
    let writes = seen.writes.lock().unwrap();
    assert!(
        found.confirmed.lock().unwrap().iter().all(|number| writes.contains(number)),
        "a write is confirmed that the device has not got"
    );
    let count = |name: &str| counters()[name].as_u64().unwrap();
    until("every request has come to an end", || {
        (count("queueDepth") + count("inFlight") + count("activeConnections") == 0).then_some(())
    });
    let ends: u64 = ["answers", "timeouts", "noPath", "busy", "denied", "badAnswers", "abandoned"].map(count).iter().sum();
    assert_eq!(count("requests"), ends, "{}", counters());
    println!(
        "{} right, {} refused, {} requests at the device: {}",
        found.right.load(Relaxed),
        found.refused.load(Relaxed),
        seen.requests.load(Relaxed),
        counters()
    );
}

/// Less goes wrong in a long run: most of the time of a run is spent with waiting for what does not come.
fn odds() -> Odds {
    if std::env::var_os("DOMOFLUX_ANSWERS").is_some() { Odds { lost: 300, odd: 20_000 } } else { Odds { lost: 8_000, odd: 200_000 } }
}

#[test]
fn one_connection_one_request_at_a_time() {
    run(json!({"protocol": "modbus"}), odds(), 8);
}

#[test]
fn one_connection_many_requests_at_a_time() {
    run(json!({"protocol": "modbus", "in_flight": 16}), odds(), 2);
}

#[test]
fn several_connections_and_many_requests_shared_and_kept() {
    run(
        json!({"protocol": "modbus", "in_flight": 4, "max_connections": 3, "cache": [{"ttl": "1ms"}], "retry_reads": 2}),
        odds(),
        2,
    );
}

#[test]
fn several_connections_and_nothing_shared() {
    run(json!({"protocol": "modbus", "max_connections": 4, "coalesce": false, "retry_reads": 0}), odds(), 4);
}
