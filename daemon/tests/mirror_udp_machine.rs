//! UDP when this machine's own sockets, addresses and name servers change.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::support::*;

/// The sockets of a process that are connected to an address.
fn sockets_to(process: u32, to: SocketAddr) -> io::Result<Vec<OwnedFd>> {
    let pidfd = pidfd_open(Pid::from_raw(process.cast_signed()).unwrap(), PidfdFlags::empty())?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/fd"))? {
        let number = entry?.file_name().to_str().unwrap().parse().unwrap();
        let fd = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty())?;
        if socket2::SockRef::from(&fd).peer_addr().ok().and_then(|at| at.as_socket()) == Some(to) {
            found.push(fd);
        }
    }
    Ok(found)
}

#[test]
fn a_session_whose_sockets_were_cut_goes_on_with_others() {
    for by_name in [false, true] {
        let (target, sink) = (UdpServer::echo(), Udp::new());
        let daemon = Daemon::start();
        let mut spec = udp_mirror(target.address, &[sink.address()]);
        if by_name {
            spec = spec
                .with("/target", format!("localhost:{}", target.address.port()))
                .with("/mirrors/0/address", format!("localhost:{}", sink.address().port()));
        }
        let client = Udp::to(daemon.mirror("panel", &spec));
        assert_eq!(client.ask(b"before"), b"before");
        sink.got(b"before");
        for to in [target.address, sink.address()] {
            match sockets_to(daemon.process.pid(), to) {
                Ok(sockets) if sockets.len() == 1 => rustix::net::connect_unspec(&sockets[0]).unwrap(),
                Ok(sockets) => panic!("{} sockets to {to}", sockets.len()),
                Err(error) => return eprintln!("skipped: the sockets of another process can't be had here: {error}"),
            }
        }
        for n in 0..10u8 {
            assert_eq!(client.ask(&[n]), [n], "no datagram is lost");
            sink.got(&[n]);
        }
        let counted = daemon.counters("panel");
        for (name, value) in [
            ("targetConnections", 2),
            ("targetErrPkts", 1),
            ("droppedDatagrams", 0),
            ("mirrorConnections", 2),
            ("mirrorErrPkts", 1),
            ("mirrorDroppedDatagrams", 0),
        ] {
            assert_eq!(counted[name], value, "{name} in {counted}");
        }
    }
}

/// Runs this test once more in namespaces of its own, where a name is asked for at 127.0.0.53 and nowhere else. The
/// answer is whether that is where it runs. Where that is not allowed, the test is skipped.
fn in_namespaces(test: &str) -> bool {
    const VARIABLE: &str = "DOMOFLUX_TEST_IN_NAMESPACES";
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("resolv.conf"), "nameserver 127.0.0.53\n").unwrap();
    std::fs::write(dir.path().join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        let files = "mount --bind resolv.conf /etc/resolv.conf && mount --bind nsswitch.conf /etc/nsswitch.conf";
        command
            .current_dir(dir.path())
            .args(["-rnm", "sh", "-c", &format!("{files} && ip link set lo up && {script}")]);
        command.arg(std::env::current_exe().unwrap()).env(VARIABLE, "1");
        command
    };
    match inside("true").output() {
        Ok(output) if output.status.success() => {
            let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
            let status = inside("exec \"$0\" --exact --nocapture \"$1\"").arg(name).status().unwrap();
            assert!(status.success());
        }
        Ok(output) => eprintln!("skipped: no namespaces here: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("skipped: there is no unshare: {error}"),
    }
    false
}

/// The kernel makes some routes a moment after the address that they are for.
#[track_caller]
fn ip(args: &str) {
    until(&format!("ip {args}"), || {
        let status = Command::new("ip").args(args.split(' ')).status().unwrap();
        status.success().then_some(())
    });
}

#[test]
fn a_session_goes_on_when_our_address_is_another_one() {
    if !in_namespaces("a_session_goes_on_when_our_address_is_another_one") {
        return;
    }
    let address = |ours: &str| {
        ip(&format!("address add {ours}/32 dev lo"));
        ip(&format!("route replace local 10.9.0.2 dev lo src {ours} table local"));
    };
    ip("address add 10.9.0.2/32 dev lo");
    address("10.9.0.1");
    let (target, sink) = (UdpServer::named("t", "10.9.0.2:0".parse().unwrap()), Udp::at(([10, 9, 0, 2], 0)));
    let daemon = Daemon::start();
    let client = Udp::to(daemon.mirror("panel", &udp_mirror(target.address, &[sink.address()])));
    assert_eq!(client.ask(b"before"), b"t:before");
    assert_eq!(sink.got(b"before").ip().to_string(), "10.9.0.1");
    ip("address delete 10.9.0.1/32 dev lo");
    address("10.9.0.3");
    for n in 0..10u8 {
        assert_eq!(client.ask(&[n]), [b't', b':', n], "no datagram is lost");
        assert_eq!(sink.got(&[n]).ip().to_string(), "10.9.0.3");
    }
    daemon.counts("panel", "targetConnections", 2);
    assert_eq!(daemon.counter("panel", "droppedDatagrams"), 0);
    // Without any address for a while, what is sent meanwhile is lost, and no more.
    ip("address delete 10.9.0.3/32 dev lo");
    ip("route delete local 10.9.0.2 table local");
    ip("route add unreachable 10.9.0.2");
    client.send(b"lost");
    daemon.counts("panel", "droppedDatagrams", 1);
    ip("route delete unreachable 10.9.0.2");
    address("10.9.0.4");
    client.ask_until(b"again", b"t:again");
}

#[test]
fn a_session_over_ipv6_goes_on_when_our_address_is_another_one() {
    if !in_namespaces("a_session_over_ipv6_goes_on_when_our_address_is_another_one") {
        return;
    }
    let address = |ours: &str| {
        ip(&format!("-6 address add {ours}/128 dev lo"));
        ip(&format!("-6 route replace local fd09::2 dev lo src {ours} table local metric 1"));
    };
    ip("-6 address add fd09::2/128 dev lo");
    ip("-6 route delete local fd09::2 dev lo table local");
    address("fd09::1");
    let (target, sink) = (UdpServer::named("t", "[fd09::2]:0".parse().unwrap()), Udp::at(([0xfd09, 0, 0, 0, 0, 0, 0, 2], 0)));
    let daemon = Daemon::start();
    let client = Udp::to(daemon.mirror("panel", &udp_mirror(target.address, &[sink.address()])));
    assert_eq!(client.ask(b"before"), b"t:before");
    assert_eq!(sink.got(b"before").ip().to_string(), "fd09::1");
    ip("-6 address delete fd09::1/128 dev lo");
    address("fd09::3");
    client.ask_until(b"after", b"t:after");
    daemon.counts("panel", "targetConnections", 2);
}

/// A name server that says that every name is 127.0.0.1, unless it is held.
fn name_server(held: Arc<AtomicBool>) {
    let socket = Udp::at(([127, 0, 0, 53], 53)).0;
    socket.set_read_timeout(None).unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((n, from)) = socket.recv_from(&mut query) {
            if held.load(Ordering::SeqCst) {
                continue;
            }
            let end = 12 + query[12..n].iter().position(|&byte| byte == 0).unwrap() + 5;
            let is_v4 = query[end - 3] == 1;
            let mut answer = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0], &query[12..end]].concat();
            if is_v4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
}

#[test]
fn what_waits_for_a_name_goes_first_to_the_next_target() {
    if !in_namespaces("what_waits_for_a_name_goes_first_to_the_next_target") {
        return;
    }
    let held = Arc::<AtomicBool>::default();
    name_server(Arc::clone(&held));
    let (first, second, sink) = (Udp::new(), Udp::new(), Udp::new());
    let mut daemon = Daemon::start();
    let spec = udp_mirror(second.address(), &[sink.address()])
        .with("/connect_timeout", 2)
        .with("/target", [format!("slow.test:{}", first.address().port()), second.address().to_string()]);
    let at = daemon.mirror("panel", &spec);
    let (one, other, last) = (Udp::to(at), Udp::to(at), Udp::to(at));
    one.send(b"one");
    first.got(b"one");
    held.store(true, Ordering::SeqCst);
    for n in 0..3u8 {
        other.send(&[n]);
        last.send(&[n]);
    }
    daemon.counts("panel", "clientRxPkts", 7);
    drop(first);
    one.send(b"lost");
    daemon.counts("panel", "targetErrPkts", 1);
    for n in 3..10u8 {
        other.send(&[n]);
    }
    for n in 0..10u8 {
        second.got(&[n]);
    }
    // The one that still waits holds the stop up until its name is given up, and what it has goes the same way.
    daemon.process.signal(rustix::process::Signal::TERM);
    for n in 0..3u8 {
        second.got(&[n]);
    }
    let start = Instant::now();
    assert!(daemon.process.exit().success());
    assert!(start.elapsed() < SOON, "the stop took {:?}", start.elapsed());
}
