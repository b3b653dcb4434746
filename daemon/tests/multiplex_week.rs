//! A week in minutes: each cycle is an hour in which the device restarts, moves to another address, or is gone for a while, and
//! clients come and go. `DOMOFLUX_WEEK=1` runs all 168, `DOMOFLUX_HOURS` another number.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::support::*;

/// A device that takes one connection and can be switched off: then its connection is reset, as after a power cut.
struct Device {
    server: Option<Server>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Device {
    fn switch_on(at: SocketAddr) -> Self {
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = Arc::clone(&open);
        let server = Server::start_at((at.ip(), at.port()), move |_, mut stream| {
            kept.lock().unwrap().push(stream.try_clone().unwrap());
            let mut request = [0; 12];
            while stream.read_exact(&mut request).is_ok() {
                let answer = [&request[..5], &[5, request[6], 3, 2], &request[8..10]].concat();
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
        });
        Self { server: Some(server), open }
    }

    fn switch_off(mut self) {
        self.server.take();
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Reads a register, whose value is its address: whether it was answered, or refused as it must be.
fn ask(stream: &mut TcpStream, n: u16) -> bool {
    let [a, b] = n.to_be_bytes();
    stream.send(&[a, b, 0, 0, 0, 6, 1, 3, a, b, 0, 1]);
    let head = stream.receive(9);
    assert_eq!(head[..2], [a, b], "another's answer");
    if head[7] == 0x83 {
        assert!(matches!(head[8], 0x0a | 0x0b), "exception {}", head[8]);
        return false;
    }
    assert_eq!(stream.receive(2), [a, b]);
    true
}

/// A port that nobody has at any of the addresses.
fn port_of_all(addresses: &[IpAddr]) -> u16 {
    until("a port that is free everywhere", || {
        let first = TcpListener::bind((addresses[0], 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        addresses[1..].iter().all(|ip| TcpListener::bind((*ip, port)).is_ok()).then_some(port)
    })
}

#[test]
fn nothing_is_left_behind_by_restarts_and_moves_of_the_device() {
    let hours: usize = match (std::env::var("DOMOFLUX_HOURS"), std::env::var_os("DOMOFLUX_WEEK")) {
        (Ok(hours), _) => hours.parse().unwrap(),
        (_, Some(_)) => 168,
        _ => 16,
    };
    let addresses: Vec<IpAddr> = (2..5).map(|n| IpAddr::from(Ipv4Addr::new(127, 0, 0, n))).collect();
    let port = port_of_all(&addresses);
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    // In place: a file that is renamed over it would not be seen through the mount.
    let moves_to = |ip: IpAddr| std::fs::write(&hosts, format!("{ip} inverter.test\n")).unwrap();
    moves_to(addresses[0]);
    let daemon = Daemon::prepare().hosts(&hosts).start();
    let spec = json!({"listen": "127.0.0.1:0", "target": format!("inverter.test:{port}"), "protocol": "modbus", "timeout": 2,
        "reconnect_backoff": "20ms", "connect_timeout": 1, "health_check_interval": 1});
    let mut device = Device::switch_on((addresses[0], port).into());
    let at = daemon.flow("multiplexer", "inverter", &spec);
    let mut stays = connect(at);
    let (mut answered, mut refused) = (0u64, 0u64);
    let mut count = |is_answered: bool| if is_answered { answered += 1 } else { refused += 1 };
    let mut at_rest = None;
    for hour in 0..hours {
        for n in 0..20 {
            count(ask(&mut stays, n));
            let mut visitor = connect(at);
            count(ask(&mut visitor, 1000 + n));
            if n % 5 == 0 {
                visitor.send(&[0, 9, 0, 0, 0, 6, 1, 3, 0, 9, 0, 1]);
                visitor.reset(); // with a request on its way
            }
        }
        match hour % 4 {
            0 => {
                device.switch_off();
                device = Device::switch_on((addresses[hour / 4 % 3], port).into());
            }
            1 => {
                device.switch_off();
                let ip = addresses[(hour / 4 + 1) % 3];
                moves_to(ip);
                device = Device::switch_on((ip, port).into());
            }
            2 => {
                device.switch_off();
                until("a request is refused while the device is off", || (!ask(&mut stays, 7)).then_some(()));
                device = Device::switch_on((addresses[(hour / 4 + 1) % 3], port).into());
            }
            _ => drop(daemon.call("flow.restart", json!({"id": "inverter"})).unwrap()),
        }
        if hour % 4 == 3 {
            stays = connect(daemon.listening("inverter"));
        }
        until("the device answers again", || ask(&mut stays, hour as u16).then_some(()));
        if hour == 4 {
            at_rest = Some((daemon.descriptors(), daemon.process.peak_memory()));
        }
    }
    drop(stays);
    until("everything has come to rest", || {
        let counters = daemon.counters("inverter");
        ["queueDepth", "inFlight", "activeConnections"].iter().all(|name| counters[name] == 0).then_some(())
    });
    let counters = daemon.counters("inverter");
    let counted = |name: &str| counters[name].as_u64().unwrap();
    let ends: u64 = ["answers", "timeouts", "noPath", "badAnswers", "busy", "denied", "abandoned"].map(counted).iter().sum();
    assert_eq!(counted("requests"), ends, "{counters}");
    assert!(answered > 10 * refused, "{answered} answered, {refused} refused: {counters}");
    let (descriptors, memory) = at_rest.unwrap();
    until("no descriptor is left open", || (daemon.descriptors() <= descriptors).then_some(()));
    let grown = daemon.process.peak_memory().saturating_sub(memory);
    assert!(grown < 2 << 20, "it has grown by {grown} bytes in {} hours", hours - 5);
    device.switch_off();
}
