#!/usr/bin/env python3
"""The multiplexer between programs of others: pymodbus as device and client, libmodbus' mbpoll, a serial line made by socat,
curl, and Python's own HTTP client and server.

    tests/interop.py [path of domoflux]

Needs pymodbus (with pyserial), mbpoll, socat and curl. Exit code 0: every answer was right.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator

from pymodbus import FramerType, pymodbus_apply_logging_config
from pymodbus.client import ModbusTcpClient
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusSerialServer, ModbusTcpServer

PATIENCE = 15.0
UNITS = (1, 2, 17)
REGISTERS = 400


def until(what: str, look: Callable[[], Any]) -> Any:
    """Looks until there is an answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError, AssertionError):
            found = look()
            if found:
                return found
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)


def same(got: Any, expected: Any, what: str) -> None:
    if got != expected:
        raise SystemExit(f"{what}: {got!r} instead of {expected!r}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


@contextlib.contextmanager
def multiplexer(binary: str, spec: dict[str, Any]) -> Iterator[int]:
    """A daemon with one flow; its port."""
    port = free_port()
    flow = {"kind": "multiplexer", "listen": f"127.0.0.1:{port}", "timeout": 5, **spec}
    with tempfile.TemporaryDirectory() as state:
        config = Path(state, "config.toml")
        config.write_text("[flow.shared]\n" + "".join(f"{k} = {toml(v)}\n" for k, v in flow.items()), encoding="utf-8")
        command = [binary, "daemon", "--listen", "127.0.0.1:0", "--state-dir", state, "--config", str(config)]
        daemon = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            until("the multiplexer listens", lambda: listens(port))
            yield port
        finally:
            daemon.terminate()
            log = daemon.communicate(timeout=PATIENCE)[1].decode()
            if daemon.returncode != 0 or "defect" in log:
                raise SystemExit(f"the daemon ends with {daemon.returncode}:\n{log}")


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


class Device:
    """A device of pymodbus in a thread of its own: each unit's registers hold unit * 1000 + address."""

    def __init__(self, make: Callable[[ModbusServerContext], Any]) -> None:
        def unit(number: int) -> ModbusDeviceContext:
            # A block begins at 1, as the addresses in a manual do.
            words = ModbusSequentialDataBlock(1, [number * 1000 + n for n in range(REGISTERS)])
            bits = ModbusSequentialDataBlock(1, [n % 3 == 0 for n in range(REGISTERS)])
            return ModbusDeviceContext(di=bits, co=bits, hr=words, ir=words)

        self.loop = asyncio.new_event_loop()
        self.make = make
        self.context = ModbusServerContext(devices={number: unit(number) for number in UNITS}, single=False)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        async def serve() -> None:
            self.server = self.make(self.context)
            await self.server.serve_forever()

        with contextlib.suppress(asyncio.CancelledError, RuntimeError):
            self.loop.run_until_complete(serve())

    def __enter__(self) -> Device:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.shutdown(), self.loop).result(PATIENCE)


def pymodbus_client(port: int, unit: int, rounds: int, failures: list[str], framer: FramerType = FramerType.SOCKET) -> None:
    with ModbusTcpClient("127.0.0.1", port=port, timeout=10, retries=0, framer=framer) as client:
        for n in range(rounds):
            address = (n * 7 + unit) % 200
            answer = client.read_holding_registers(address, count=1 + n % 20, device_id=unit)
            expected = [unit * 1000 + address + i for i in range(1 + n % 20)]
            if answer.isError() or answer.registers != expected:
                return failures.append(f"unit {unit} address {address}: {answer}, not {expected}")
            written = client.write_registers(300 + unit, [n, n + 1], device_id=unit)
            back = client.read_holding_registers(300 + unit, count=2, device_id=unit)
            if written.isError() or back.isError() or back.registers != [n, n + 1]:
                return failures.append(f"unit {unit}: {back} after a write of {n}")
            bits = client.read_coils(unit, count=9, device_id=unit)
            if bits.isError() or bits.bits[:9] != [(unit + i) % 3 == 0 for i in range(9)]:
                return failures.append(f"unit {unit}: {bits}")
    return None


def crowd(port: int, rounds: int, framer: FramerType = FramerType.SOCKET) -> None:
    """One client a unit, all at the same time."""
    failures: list[str] = []
    threads = [threading.Thread(target=pymodbus_client, args=(port, unit, rounds, failures, framer)) for unit in UNITS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(failures, [], "pymodbus")


def mbpoll(port: int) -> None:
    read = subprocess.run(
        ["mbpoll", "-m", "tcp", "-p", str(port), "-a", "17", "-r", "101", "-c", "5", "-1", "-q", "127.0.0.1"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )
    values = [int(line.split()[1].split("(")[0]) % 65536 for line in read.stdout.splitlines() if line.startswith("[")]
    same(values, [17100 + n for n in range(5)], "mbpoll: " + read.stdout + read.stderr)
    write = subprocess.run(
        ["mbpoll", "-m", "tcp", "-p", str(port), "-a", "2", "-r", "351", "-1", "127.0.0.1", "42", "43"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )
    same(write.returncode, 0, "mbpoll: " + write.stdout + write.stderr)
    with ModbusTcpClient("127.0.0.1", port=port) as client:
        same(client.read_holding_registers(350, count=2, device_id=2).registers, [42, 43], "what mbpoll has written")


def modbus_tcp(binary: str) -> None:
    port = free_port()
    with Device(lambda context: ModbusTcpServer(context, address=("127.0.0.1", port))):
        until("pymodbus listens", lambda: listens(port))
        # Not with several in flight: of requests that come in one segment, this device answers one.
        for more in ({}, {"max_connections": 3}):
            with multiplexer(binary, {"protocol": "modbus", "target": f"127.0.0.1:{port}", **more}) as at:
                crowd(at, 60)
                mbpoll(at)


def modbus_rtu_over_tcp(binary: str) -> None:
    port = free_port()
    with Device(lambda context: ModbusTcpServer(context, framer=FramerType.RTU, address=("127.0.0.1", port))):
        until("pymodbus listens", lambda: listens(port))
        target = f"127.0.0.1:{port}"
        with multiplexer(binary, {"protocol": "modbus-rtu-tcp", "target": target}) as at:
            crowd(at, 40, FramerType.RTU)
        with multiplexer(binary, {"protocol": "modbus-rtu-tcp", "client_protocol": "modbus", "target": target}) as at:
            crowd(at, 40)
            mbpoll(at)


def serial_line(binary: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ends = [os.path.join(folder, name) for name in ("device", "ours")]
        pair = subprocess.Popen(["socat", *(f"pty,raw,echo=0,link={end}" for end in ends)])
        try:
            until("socat makes a line", lambda: all(os.path.exists(end) for end in ends))
            with Device(lambda context: ModbusSerialServer(context, port=ends[0], baudrate=115200)):
                spec = {"protocol": "modbus-rtu", "timeout": 1, "serial": {"device": ends[1], "baud_rate": 115200}}
                with multiplexer(binary, spec) as at:
                    with ModbusTcpClient("127.0.0.1", port=at, timeout=2) as client:
                        until("the line answers", lambda: not client.read_holding_registers(0, device_id=1).isError())
                        for noise in (b"\x00", b"\x01\x03\xff", b"\xff" * 40):
                            with open(ends[0], "wb", buffering=0) as line:
                                line.write(noise)
                            same(client.read_holding_registers(7, count=2, device_id=17).registers, [17007, 17008], "after noise")
                    crowd(at, 15)
                    mbpoll(at)
        finally:
            pair.terminate()
            pair.wait(PATIENCE)


class Page(http.server.BaseHTTPRequestHandler):
    """Says what it was asked, in all the ways that HTTP has for an answer's end."""

    protocol_version = "HTTP/1.1"
    connections: set[tuple[str, int]] = set()

    def answer(self) -> None:
        Page.connections.add(self.client_address)
        length = int(self.headers.get("Content-Length", 0))
        got = self.rfile.read(length)
        body = f"{self.command} {self.path} {len(got)}".encode()
        if self.path.startswith("/304"):
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200)
        if self.path.startswith("/chunked"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if self.command != "HEAD":
                for i in range(0, len(body), 5):
                    part = body[i : i + 5]
                    self.wfile.write(f"{len(part):x};n={i}\r\n".encode() + part + b"\r\n")
                self.wfile.write(b"0\r\nX-Trailer: yes\r\n\r\n")
        elif self.path.startswith("/close"):
            self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


def web(binary: str) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    target = f"127.0.0.1:{server.server_address[1]}"
    with multiplexer(binary, {"protocol": "http", "target": target, "max_message": "8 MiB"}) as at:
        failures: list[str] = []

        def visitor(number: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", at, timeout=PATIENCE)
            for n in range(30):
                method = ("GET", "POST", "HEAD", "PUT")[n % 4]
                path = ("/plain", "/chunked", "/304")[n % 3] + f"/{number}/{n}"
                data = b"x" * (n * 1000) if method in ("POST", "PUT") else None
                connection.request(method, path, body=data)
                answer = connection.getresponse()
                got = answer.read().decode()
                wanted = "" if method == "HEAD" or path.startswith("/304") else "{} {} {}".format(method, path, len(data or b""))
                if got != wanted or answer.status != (304 if path.startswith("/304") else 200):
                    failures.append(f"{method} {path}: {answer.status} {got!r}")
            connection.close()

        Page.connections.clear()
        threads = [threading.Thread(target=visitor, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(failures, [], "http.client")
        same(len(Page.connections), 1, "connections to the server")
        with tempfile.NamedTemporaryFile() as large:
            large.write(b"y" * 3_000_000)
            large.flush()
            # curl waits for 100 Continue before it sends as much as this.
            for path, more, wanted in (
                ("/plain", ["--data-binary", "@" + large.name], "POST /plain 3000000"),
                ("/chunked", [], "GET /chunked 0"),
                ("/close", [], "GET /close 0"),
                ("/plain", ["-H", "Connection: close"], "GET /plain 0"),
                ("/plain", ["--http1.0"], "GET /plain 0"),
                ("/plain", ["-I"], None),
            ):
                url = f"http://127.0.0.1:{at}{path}"
                got = subprocess.run(
                    ["curl", "-s", "-m", "10", "--noproxy", "*", "-w", "|%{http_code}", *more, url, "-H", "Expect: 100-continue"]
                    if "@" in " ".join(more) else ["curl", "-s", "-m", "10", "--noproxy", "*", "-w", "|%{http_code}", *more, url],
                    capture_output=True, text=True, timeout=PATIENCE, check=False,
                )
                body, _, code = got.stdout.rpartition("|")
                same(code, "200", f"curl {path} {more}: {got.stdout + got.stderr}")
                if wanted is not None:
                    same(body, wanted, f"curl {path} {more}")
    server.shutdown()


def main() -> None:
    pymodbus_apply_logging_config("CRITICAL")  # it warns of what a later version will not have; this one is pinned
    binary = sys.argv[1] if len(sys.argv) > 1 else "target/debug/domoflux"
    for tool in ("mbpoll", "socat", "curl"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not here")
    for check in (modbus_tcp, modbus_rtu_over_tcp, serial_line, web):
        started = time.monotonic()
        check(binary)
        print("{}: good, {:.1f} s".format(check.__name__.replace("_", " "), time.monotonic() - started))


main()
