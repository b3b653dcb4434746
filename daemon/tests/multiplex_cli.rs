//! The multiplexer on the command line: its own command, the Go tool's, and what shows a Modbus device to a person.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::*;

fn cli(args: &[&str]) -> (i32, String, String) {
    run(domoflux(args))
}

/// The binary under the Go tool's name.
struct Renamed(tempfile::TempDir);

impl Renamed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_domoflux"), dir.path().join("tcp-multiplexer")).unwrap();
        Self(dir)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.0.path().join("tcp-multiplexer"));
        command.args(args).env_clear();
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        run(self.command(args))
    }
}

/// Where a process says that it listens, as an address of this machine.
#[track_caller]
fn listening(process: &mut Process) -> SocketAddr {
    let said = process.says("listening on ");
    let at: SocketAddr = said.split("listening on ").nth(1).unwrap().split([',', '\n', ';']).next().unwrap().trim().parse().unwrap();
    if at.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, at.port()).into() } else { at }
}

/// A Modbus/TCP device. Register and coil n of unit u hold 100 u + n, and there are 1000. Unit 9 is silent, 8 closes.
fn device() -> Server {
    Server::start(|_, mut stream| {
        while let Some((head, pdu)) = read_frame(&mut stream) {
            match head[6] {
                9 => {}
                8 => return,
                unit => {
                    let answer = answer(unit, &pdu);
                    stream.send(&[&head[..4], &(answer.len() as u16 + 1).to_be_bytes(), &[unit], &answer].concat());
                }
            }
        }
    })
}

fn read_frame(stream: &mut TcpStream) -> Option<([u8; 7], Vec<u8>)> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).ok()?;
    let mut pdu = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 1];
    stream.read_exact(&mut pdu).ok()?;
    Some((head, pdu))
}

fn answer(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let (first, count) = (u16::from_be_bytes([pdu[1], pdu[2]]), u16::from_be_bytes([pdu[3], pdu[4]]));
    match pdu[0] {
        6 => pdu.to_vec(),
        _ if first + count > 1000 => vec![pdu[0] | 0x80, 2],
        1 => vec![1, 1, 0b101],
        _ => {
            let registers = (first..first + count).flat_map(|n| (100 * u16::from(unit) + n).to_be_bytes());
            [pdu[0], count as u8 * 2].into_iter().chain(registers).collect()
        }
    }
}

/// Asks for a PDU's answer.
#[track_caller]
fn ask(at: SocketAddr, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut client = connect(at);
    client.send(&[&[0x12, 0x34, 0, 0, 0, pdu.len() as u8 + 1, unit], pdu].concat());
    let (head, pdu) = read_frame(&mut client).unwrap();
    assert_eq!((&head[..4], head[6]), (&[0x12, 0x34, 0, 0][..], unit));
    pdu
}

#[test]
fn a_wrong_option_is_named() {
    for (args, code, option) in [
        (&["-p", "smoke-signals"][..], 64, "--applicationProtocol"),
        (&["--protocol", "smoke-signals"], 64, "--applicationProtocol"),
        (&["-t", "nowhere"], 64, "--targetServer"),
        (&["-l", "99999"], 64, "--listen"),
        (&["--timeout", "soon"], 64, "--timeout"),
        (&["--delay", "1m30"], 64, "--delay"),
        (&["--max-connections", "many"], 64, "--max-connections"),
        (&["--on-busy", "panic"], 64, "--on-busy"),
        (&["--allow-write", "unit=1"], 64, "--allow-write"),
        (&["--unit", "1=256"], 64, "--unit"),
        (&["--route", "2-4"], 64, "--route"),
        (&["--cache", "units=1"], 64, "--cache"),
        (&["--probe", "unit=1"], 64, "--probe"),
        (&["--match", "luck"], 64, "--match"),
        (&["--baud-rate", "9600"], 64, "--serial"),
        (&["--serial", "/dev/x", "-t", "a:1"], 64, "--serial"),
        (&["-v", "--log-level", "info"], 64, "--log-level"),
        (&["-t", "127.0.0.1:5020", "-l", "127.0.0.1:5020"], 78, "--targetServer"),
        (&["-t", "a:1", "-t", "a:1"], 78, "--targetServer"),
        (&["-p", "modbus-rtu"], 78, "--serial"),
        (&["--serial", "/dev/x", "--parity", "even", "--baud-rate", "1"], 78, "--baud-rate"),
        (&["--serial", "/dev/x", "-p", "modbus"], 78, "--serial"),
        (&["--timeout", "0"], 78, "--timeout"),
        (&["--delay", "25h"], 78, "--delay"),
        (&["--max-connections", "65"], 78, "--max-connections"),
        (&["--in-flight", "2"], 78, "--in-flight"),
        (&["--reconnect-backoff", "0"], 78, "--reconnect-backoff"),
        (&["--retryDelay", "0"], 78, "--reconnect-backoff"),
        (&["--health-check-interval", "500ms"], 78, "--health-check-interval"),
        (&["--queue-size", "0"], 78, "--queue-size"),
        (&["--connect-timeout", "0"], 78, "--connect-timeout"),
        (&["--idle-timeout", "1ms"], 78, "--idle-timeout"),
        (&["--max-clients", "0"], 78, "--max-clients"),
        (&["--max-message", "1"], 78, "--max-message"),
        (&["--allow", "home"], 78, "--allow"),
        (&["--client-protocol", "modbus"], 78, "--client-protocol"),
        (&["--read-only"], 78, "--read-only"),
        (&["--cache", "1s"], 78, "--cache"),
        (&["-p", "modbus", "--allow-write", "units=300"], 78, "--allow-write, units"),
        (&["-p", "modbus", "--unit", "1=2", "--unit", "1=3"], 78, "--unit"),
        (&["-p", "modbus", "--route", "x=a:1"], 78, "--route"),
        (&["-p", "modbus", "--cache", "ttl=1s,functions=x"], 78, "--cache, functions"),
        (&["-p", "modbus", "--retry-reads", "11"], 78, "--retry-reads"),
        (&["-p", "modbus", "--probe", "address=0,function=6"], 78, "--probe, function"),
        (&["--buffer-total", "1"], 78, "--buffer-total"),
    ] {
        let args = [&["multiplex", "-l", "127.0.0.1:0"], args].concat();
        let args = if args.iter().filter(|arg| **arg == "-l").count() > 1 { [&args[..1], &args[3..]].concat() } else { args };
        let (exit, out, said) = cli(&args);
        assert!(exit == code && out.is_empty() && said.contains(option), "{args:?}: {exit}, {out}{said}");
    }
    let taken = echo();
    let (code, _, said) = cli(&["multiplex", "-l", &taken.address.to_string()]);
    assert!(code == 1 && said.contains(&format!("cannot listen on {}", taken.address)), "{code}: {said}");
}

#[test]
fn a_multiplexer_in_the_foreground_does_what_its_options_say() {
    let (down, first, second) = (Nobody::new(), device(), device());
    let (down, to, other) = (down.address.to_string(), first.address.to_string(), format!("5-6={}", second.address));
    let mut args = vec!["multiplex", "-v", "-p", "modbus", "-l", "127.0.0.1:0", "-t", &down, "-t", &to, "--timeout", "5", "--delay", "1ms"];
    args.extend(["--unit", "1=2", "--route", &other, "--allow-write", "units=2,functions=6,16,addresses=10-20", "--cache", "1h"]);
    args.extend(["--in-flight", "4", "--max-connections", "2", "--reconnect-backoff", "10ms", "--probe", "address=0", "--retry-reads", "0"]);
    args.extend(["--health-check-interval", "1m30s", "--queue-size", "8", "--connect-timeout", "2s", "--request-gap", "0", "--connect-delay", "0"]);
    args.extend(["--idle-timeout", "1h", "--close-when-idle", "1h", "--max-clients", "3", "--max-message", "1 KiB", "--on-busy", "busy"]);
    args.extend(["--allow", "127.0.0.0/8", "--no-keepalive", "--no-coalesce", "--match", "id", "--client-protocol", "modbus", "--threads", "2"]);
    let mut process = Process::start(domoflux(&args));
    let at = listening(&mut process);
    assert_eq!(ask(at, 1, &[3, 0, 7, 0, 1]), [3, 2, 0, 207], "unit 1 is unit 2 there");
    assert_eq!(ask(at, 5, &[3, 0, 7, 0, 1]), [3, 2, 1, 251], "unit 5 is elsewhere");
    assert_eq!(ask(at, 1, &[6, 0, 10, 0, 1]), [6, 0, 10, 0, 1], "allowed");
    assert_eq!(ask(at, 1, &[6, 0, 21, 0, 1]), [0x86, 1], "not allowed");
    process.signal(Signal::INT);
    assert!(process.exit().success());
    let said = process.stderr();
    assert!(said.contains("clients 0 of 4 | requests 4, answers 3") && said.contains("0 connections cut"), "{said}");
}

#[test]
fn what_is_under_way_is_answered_after_a_sigterm() {
    let (gate, asked) = (Gate::shut(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let (pass, note) = (gate.clone(), std::sync::Arc::clone(&asked));
    let target = Server::start(move |_, mut stream| {
        let mut part = [0; 100];
        while let Ok(n @ 1..) = stream.read(&mut part) {
            note.store(true, std::sync::atomic::Ordering::SeqCst);
            pass.pass();
            let _ = stream.write_all(&part[..n]);
        }
    });
    let mut process = Process::start(domoflux(["multiplex", "-v", "-l", "127.0.0.1:0", "-t", &target.address.to_string()]));
    let at = listening(&mut process);
    let mut idle = connect(at);
    let mut client = connect(at);
    client.send(b"late\n");
    until("the device is asked", || asked.load(std::sync::atomic::Ordering::SeqCst).then_some(()));
    process.signal(Signal::TERM);
    process.says("stopping");
    until("it accepts no more", || try_connect(at).is_err().then_some(()));
    gate.lift();
    assert_eq!(client.receive(5), b"late\n");
    assert!(process.exit().success());
    assert_eq!(client.receive_all().0, b"");
    assert_eq!(idle.receive_all().0, b"");
}

#[test]
fn under_the_go_tools_name_its_commands_work() {
    let tool = Renamed::new();
    for args in [&[][..], &["help"], &["-h"], &["--help"], &["server", "-h"], &["help", "server"], &["list", "--help"]] {
        let (code, out, said) = tool.run(args);
        assert!(code == 0 && said.is_empty() && out.contains("Usage: tcp-multiplexer"), "{args:?}: {code}, {out}{said}");
    }
    let names = ["echo", "http", "iso8583", "mpu", "modbus", "modbus-rtu", "modbus-serial"]
        .map(|name| format!("* {name}\n"))
        .concat();
    assert_eq!(
        tool.run(&["list"]),
        (0, format!("{names}\nusage for example: ./tcp-multiplexer server -p echo\n"), String::new())
    );
    assert!(tool.run(&["version"]).1.starts_with(&format!("version {}, commit ", env!("CARGO_PKG_VERSION"))));
    for (args, code, text) in [
        (&["server", "-p", "modbus-tcp-crc"][..], 2, "\"modbus-tcp-crc\" is not supported"),
        (&["serve"], 1, "serve"),
        (&["server", "--colour"], 1, "--colour"),
        (&["server", "--timeout", "soon"], 1, "--timeout"),
        (&["server", "-t", "nowhere"], 1, "--targetServer"),
        (&["mirror"], 1, "mirror"),
    ] {
        let (exit, out, said) = tool.run(args);
        assert!(exit == code && out.is_empty() && said.contains(text), "{args:?}: {exit}, {out}{said}");
    }
    let taken = Server::start_at((Ipv4Addr::UNSPECIFIED, 0), echo_one);
    let (code, _, said) = tool.run(&["server", "-l", &taken.address.port().to_string()]);
    assert!(code == 2 && said.contains("cannot listen on"), "{code}: {said}");
}

#[test]
fn under_the_go_tools_name_it_serves_with_flags_in_every_form() {
    let (tool, target) = (Renamed::new(), echo());
    let to = target.address.to_string();
    let joined = format!("--targetServer={to}");
    for args in [
        &["server", "-t", &to, "-l", "0", "-p", "echo", "-v"][..],
        &["-v", "server", &joined, "--listen=0", "--applicationProtocol=echo", "--timeout=5"],
        &["server", "-v=true", "--targetServer", &to, "--listen", ":0", "--timeout", "5", "--delay", "0"],
        &["server", "-pecho", "-t", &to, "-l0", "--delay=1ms", "--retryDelay=0s", "--verbose=true", "-l", "0"],
        &["server", "-vd", "-t", "nowhere.invalid:1", "-t", &to, "-l", "0", "--max-connections", "2", "stray"],
        &[
            "server",
            "-d",
            "-t",
            &to,
            "-l",
            "0",
            "--reconnect-backoff",
            "1m30s",
            "--health-check-interval",
            "500ms",
            "--queue-size=0",
            "--max-connections=0",
        ],
    ] {
        let mut process = Process::start(tool.command(args));
        assert_eq!(connect(listening(&mut process)).ask(b"one\n"), b"one\n", "{args:?}");
    }
    let quiet = Process::start(tool.command(&["server", "-t", &to, "-l", "0"]));
    assert!(!quiet.stderr().contains("INFO"), "{}", quiet.stderr());
}

#[test]
fn under_the_go_tools_name_its_protocols_and_signals_are_meant() {
    let tool = Renamed::new();
    // A frame of each, with an answer that is the same.
    let plain = [0, 1, 0, 0, 0, 6, 1, 6, 0, 10, 0, 1];
    let with_crc = [0, 1, 0, 0, 0, 8, 1, 6, 0, 10, 0, 1, 0x68, 0x08];
    let rtu = [1, 6, 0, 10, 0, 1, 0x68, 0x08];
    for (protocol, frame, signal) in [
        ("modbus", &plain[..], Signal::TERM),
        ("modbus-rtu", &with_crc, Signal::HUP),
        ("modbus-serial", &rtu, Signal::QUIT),
        ("mpu", b"0003abc", Signal::INT),
        ("iso8583", b"\0\x03abc", Signal::TERM),
    ] {
        let target = echo();
        let mut process = Process::start(tool.command(&["server", "-v", "-l", "0", "-p", protocol, "-t", &target.address.to_string()]));
        assert_eq!(connect(listening(&mut process)).ask(frame), frame, "{protocol}");
        process.signal(signal);
        process.says("stopping");
        assert!(process.exit().success(), "{protocol}");
    }
}

#[test]
fn the_protocols_are_listed() {
    let (code, out, _) = cli(&["protocols"]);
    let names: Vec<&str> = out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(code, 0);
    assert_eq!(names[..2], ["NAME", "echo"]);
    assert!(out.lines().any(|line| line.split_whitespace().take(2).eq(["echo", "line"])), "{out}");
    let french = cli(&["protocols", "--language", "fr"]).1;
    assert!(french.contains("une ligne série") && !french.contains(" line:"), "{french}");
    let listed: Value = serde_json::from_str(&cli(&["protocols", "--json"]).1).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), names.len() - 1);
    for protocol in listed.as_array().unwrap() {
        assert!(names.contains(&protocol["name"].as_str().unwrap()), "{protocol}");
    }
}

#[test]
fn a_modbus_device_is_probed() {
    let (device, nobody) = (device(), Nobody::new());
    let at = device.address.to_string();
    let probe = |args: &[&str]| cli(&[&["probe", "modbus", &at], args].concat());
    let (code, out, _) = probe(&["--address", "4", "--count", "2"]);
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(code, 0);
    assert!(out.starts_with(&format!("{at}, unit 1: holding registers from 4 on; connected after ")), "{out}");
    assert_eq!(rows[3..], [vec!["4", "0x0068", "104", "104"], vec!["5", "0x0069", "105", "105"]]);
    for (args, row) in [
        (&["--function", "input", "--type", "u32", "--count", "2"][..], "0  0x00640065         6553701"),
        (&["--function", "4", "--type", "i32", "--count", "2", "--low-word-first"], "0  0x00650064         6619236"),
        (&["--type", "f32", "--count", "2", "--unit", "0", "--address", "0"], "0  0x00000001"),
        (&["--type", "hex", "--count", "1"], "0  0x0064"),
        (&["--function", "coils", "--count", "3"], "2  1"),
    ] {
        let (code, out, said) = probe(args);
        let last: Vec<&str> = out.lines().last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(code, 0, "{args:?}: {said}");
        assert!(last.starts_with(&row.split_whitespace().collect::<Vec<_>>()), "{args:?}: {out}");
    }
    for (args, code, text) in [
        (&["--address", "995"][..], 1, "exception 2: illegal data address"),
        (&["--unit", "9", "--timeout", "100ms"], 69, "unit 9 gives no answer within 100 ms"),
        (&["--unit", "8"], 69, "without an answer"),
        (&["--rtu-over-tcp", "--timeout", "100ms"], 69, "no answer within"),
        (&["--count", "126"], 64, "--count"),
        (&["--count", "3", "--type", "f32"], 64, "--count"),
        (&["--address", "65535"], 64, "--count"),
        (&["--function", "coils", "--type", "hex"], 64, "--type"),
        (&["--function", "6"], 64, "--function"),
    ] {
        let (exit, out, said) = probe(args);
        assert!(exit == code && out.is_empty() && said.contains(text), "{args:?}: {exit}, {out}{said}");
    }
    let (code, _, said) = cli(&["probe", "modbus", &nobody.address.to_string()]);
    assert!(code == 69 && said.contains("connection refused"), "{code}: {said}");
}

#[test]
fn an_rtu_device_behind_a_converter_is_probed() {
    let converter = Server::start(|_, mut stream| {
        assert_eq!(stream.receive(8)[..6], [1, 3, 0, 0, 0, 1]);
        stream.send(&[1, 3, 2, 0, 7, 0xf9, 0x86]);
    });
    let (code, out, said) = cli(&["probe", "modbus", &converter.address.to_string(), "--rtu-over-tcp", "--count", "1", "--type", "u16"]);
    assert!(code == 0 && out.trim_end().ends_with(" 7"), "{code}: {out}{said}");
}

#[test]
fn the_demonstration_of_the_multiplexer_works() {
    let (code, out, said) = cli(&["demo", "modbus"]);
    assert_eq!((code, said.as_str()), (0, ""), "{out}");
    assert!(
        out.contains("all answers are its own") && out.contains("inverter  had 1 connection, and has dropped 0"),
        "{out}"
    );
    let (code, out, _) = cli(&["demo", "mirror"]);
    assert!(code == 0 && out.contains("the stream does not care"), "{out}");
}
