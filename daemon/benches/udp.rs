//! The benchmark of datagrams: domoflux with a mirror attached beside proxies without one, each as a ratio to a direct
//! exchange in the same round. `cargo bench --bench udp`, with `-- --quick` or `-- --rounds N`; nginx (with its stream
//! module) and socat take part if they are there. A datagram that is lost or out of order in an exchange fails it, speed
//! never does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops where something it relies on is missing; nothing depends on it"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const CONTESTANTS: [&str; 4] = ["direct", "domoflux", "nginx", "socat"];
/// What is measured: name, and what its figure for the direct exchange is.
const FIGURES: [(&str, &str); 4] =
    [("one at a time, p50", "us"), ("one at a time, p99", "us"), ("32 under way, exchanges", "/s"), ("one way, received", "/s")];
/// Bytes of a datagram.
const SIZE: usize = 200;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let rounds = args.iter().position(|arg| arg == "--rounds").and_then(|at| args.get(at + 1)?.parse().ok());
    let rounds: usize = rounds.unwrap_or(if quick { 2 } else { 5 });
    let length = Duration::from_millis(if quick { 400 } else { 1500 });
    let mut samples: BTreeMap<(usize, &str), Vec<f64>> = BTreeMap::new();
    let mut lost = 0;
    for round in 1..=rounds {
        for who in CONTESTANTS {
            let Some(sample) = measure(who, length) else {
                if round == 1 {
                    eprintln!("left out: {who} is not there, or does not relay");
                }
                continue;
            };
            eprintln!("round {round}, {who}: {:.1?}, {} lost in exchanges", sample.figures, sample.lost);
            lost += if who == "domoflux" { sample.lost } else { 0 };
            for (figure, value) in sample.figures.into_iter().enumerate() {
                samples.entry((figure, who)).or_default().push(value);
            }
        }
    }
    println!("\ndatagrams of {SIZE} bytes, {rounds} rounds: direct as it is, the others as a ratio to it, medians");
    for (figure, (name, unit)) in FIGURES.iter().enumerate() {
        let Some(direct) = samples.get(&(figure, "direct")) else { continue };
        print!("  {name:<26} direct {:>9.1} {unit:<3}", median(direct.clone()));
        for who in &CONTESTANTS[1..] {
            if let Some(values) = samples.get(&(figure, who)) {
                print!("  {who} {:.2}", median(values.iter().zip(direct).map(|(value, direct)| value / direct).collect()));
            }
        }
        println!();
    }
    if lost > 0 {
        println!("FAIL domoflux lost {lost} datagrams of exchanges, or changed their order");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

struct Sample {
    figures: [f64; 4],
    lost: u64,
}

fn measure(who: &str, length: Duration) -> Option<Sample> {
    let (target, sink) = (Server::start(), Server::start());
    let (_proxy, at) = start(who, target.address, sink.address)?;
    let client = socket();
    client.connect(at).ok()?;
    // It relays when it answers.
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let ready = (0..60).any(|_| {
        let _ = client.send(b"echo?");
        // While nobody listens there, an error comes at once.
        client.recv(&mut [0; SIZE]).is_ok() || {
            thread::sleep(Duration::from_millis(50));
            false
        }
    });
    if !ready {
        return None;
    }
    thread::sleep(Duration::from_millis(200));
    client.set_nonblocking(true).unwrap();
    while client.recv(&mut [0; SIZE]).is_ok() {}
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut lost = 0;
    let mut times = Vec::new();
    exchange(&client, 1, length, &mut lost, |time| times.push(time));
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() - 1) * percent / 100] * 1e6;
    let mut answered = 0;
    exchange(&client, 32, length, &mut lost, |_| answered += 1);
    let received = one_way(&client, &target, length);
    Some(Sample { figures: [at(50), at(99), f64::from(answered) / length.as_secs_f64(), received], lost })
}

/// Sends as many as may be under way, then one for each answer.
fn exchange(client: &UdpSocket, window: u64, length: Duration, lost: &mut u64, mut took: impl FnMut(f64)) {
    let mut data = [b'e'; SIZE];
    let (start, mut sent, mut next) = (Instant::now(), 0u64, 0u64);
    let mut sent_at = Instant::now();
    while start.elapsed() < length {
        while sent - next < window {
            data[1..9].copy_from_slice(&sent.to_le_bytes());
            sent_at = Instant::now();
            client.send(&data).unwrap();
            sent += 1;
        }
        match client.recv(&mut data) {
            Ok(SIZE) if data[1..9] == next.to_le_bytes() => next += 1,
            _ => {
                *lost += 1;
                next = sent;
            }
        }
        took(sent_at.elapsed().as_secs_f64());
    }
    // The last ones must not be taken for answers of what comes next.
    while next < sent && client.recv(&mut data).is_ok() {
        next += 1;
    }
}

/// As fast as the client can send; what the target gets of it in a second.
fn one_way(client: &UdpSocket, target: &Server, length: Duration) -> f64 {
    let (before, start) = (target.received.load(Ordering::Relaxed), Instant::now());
    while start.elapsed() < length {
        for _ in 0..32 {
            let _ = client.send(&[b'o'; SIZE]);
        }
    }
    (target.received.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).unwrap();
    socket
}

/// Answers what begins with `e`, and counts all.
struct Server {
    address: SocketAddr,
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Server {
    fn start() -> Self {
        let socket = socket();
        let address = socket.local_addr().unwrap();
        let (received, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counting, stopping) = (Arc::clone(&received), Arc::clone(&stop));
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        thread::spawn(move || {
            let mut data = [0; 2048];
            while !stopping.load(Ordering::Relaxed) {
                let Ok((n, from)) = socket.recv_from(&mut data) else { continue };
                counting.fetch_add(1, Ordering::Relaxed);
                if data[0] == b'e' {
                    let _ = socket.send_to(&data[..n], from);
                }
            }
        });
        Self { address, received, stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A proxy, killed when dropped.
struct Proxy(Child, #[expect(dead_code, reason = "its files are removed with it")] TempDir);

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn start(who: &str, target: SocketAddr, mirror: SocketAddr) -> Option<(Option<Proxy>, SocketAddr)> {
    if who == "direct" {
        return Some((None, target));
    }
    let front = socket().local_addr().unwrap(); // free again at once
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("config");
    let log = folder.path().join("log");
    let mut command = match who {
        "domoflux" => {
            let mirrors = format!("[[flow.bench.mirrors]]\naddress = \"{mirror}\"\n");
            let flow = format!("[flow.bench]\nkind = \"mirror\"\nprotocol = \"udp\"\nlisten = \"{front}\"\ntarget = \"{target}\"\n{mirrors}");
            std::fs::write(&config, flow).unwrap();
            let mut command = Command::new(std::env::var("DOMOFLUX_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_domoflux").to_owned()));
            command
                .args(["daemon", "--listen", "127.0.0.1:0", "--config"])
                .arg(&config)
                .arg("--state-dir")
                .arg(folder.path());
            command
        }
        "nginx" => {
            let text = format!(
                "load_module modules/ngx_stream_module.so;\ndaemon off;\nworker_processes 1;\npid {0}/pid;\nevents {{}}\nstream {{ server {{ listen {front} udp; proxy_pass {target}; }} }}\n",
                folder.path().display()
            );
            std::fs::write(&config, text).unwrap();
            let mut command = Command::new("nginx");
            command.arg("-e").arg(&log).arg("-c").arg(&config);
            command
        }
        _ => {
            let mut command = Command::new("socat");
            command.args([format!("UDP4-LISTEN:{},bind={}", front.port(), front.ip()), format!("UDP4:{target}")]);
            command
        }
    };
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    Some((Some(Proxy(child, folder)), front))
}
