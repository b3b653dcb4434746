"""The daemon as a process: its file, its API, what it uses, and what it has said."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

# What a log must not have.
DEFECT = re.compile(r"panic|defect|internal error|poison|unwrap|BUG|RUST_BACKTRACE", re.IGNORECASE)
API_WITHIN = 15
# What of the environment would change what a daemon does.
NOT_PASSED_ON = ("DOMOFLUX_", "STATE_DIR", "CONFIGURATION_DIR", "RUNTIME_DIR", "NOTIFY_SOCKET", "JOURNAL_STREAM", "WATCHDOG_")


class Daemon:
    """One daemon with a state directory of its own."""

    def __init__(self, binary: Path, work: Path) -> None:
        self.binary = binary
        self.state = work / "state"
        self.config = work / "soak.toml"
        self.log = work / "domoflux.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.token = ""

    async def start(self) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
        options = {"--config": self.config, "--state-dir": self.state, "--instance": "soak", "--listen": "127.0.0.1:0"}
        command = [str(self.binary), "daemon", *(str(word) for option in options.items() for word in option)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        for _ in range(200):
            await asyncio.sleep(0.1)
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon has ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}")
            try:
                endpoint = json.loads((self.state / "endpoint.json").read_text())
            except (OSError, ValueError):
                continue
            if endpoint.get("pid") == self.process.pid:
                self.port = int(endpoint["port"])
                self.token = (self.state / "token").read_text().strip()
                return
        raise RuntimeError("the daemon does not say where its API is")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.runs():
            os.kill(self.pid, number)

    async def stop(self) -> tuple[int | None, float]:
        """SIGTERM; exit code and seconds, no code if it had to be killed."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        while self.runs() and time.monotonic() < began + 20:
            await asyncio.sleep(0.02)
        took = time.monotonic() - began
        if self.runs():
            self.kill()
            return None, took
        assert self.process is not None
        return self.process.returncode, took

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    async def http(self, text: bytes, within: float = API_WITHIN) -> tuple[int, bytes]:
        """Sends a whole request on a connection of its own; status and body of the answer."""

        async def exchange() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(text)
                return await reader.read()
            finally:
                writer.close()

        answer = await asyncio.wait_for(exchange(), within)
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def request(self, method: str, path: str, body: bytes = b"", token: str | None = None) -> bytes:
        token = self.token if token is None else token
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def call(self, method: str, params: dict[str, Any] | None = None, within: float = API_WITHIN) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}).encode()
        status, answer = await self.http(self.request("POST", "/", body), within)
        answered = json.loads(answer)
        if status != 200 or "error" in answered:
            raise RuntimeError(f"{method}: HTTP {status}: {answered.get('error')}")
        return answered["result"]

    async def metrics(self) -> dict[str, int]:
        status, body = await self.http(self.request("GET", "/metrics"))
        if status != 200:
            raise RuntimeError(f"/metrics: HTTP {status}")
        lines = (line.rsplit(" ", 1) for line in body.decode().splitlines() if line and not line.startswith("#"))
        return {name: int(float(value)) for name, value in lines}

    def uses(self) -> dict[str, float]:
        """Memory in KiB, descriptors, threads, seconds of CPU."""
        process = Path("/proc") / str(self.pid)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        fields = (process / "stat").read_text().rpartition(") ")[2].split()
        return {
            "rss_kb": int(status["VmRSS"].split()[0]),
            "anon_kb": int(status["RssAnon"].split()[0]),
            "fds": len(os.listdir(process / "fd")),
            "threads": int(status["Threads"]),
            "cpu_s": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        }

    def descriptors(self) -> list[str]:
        """What its descriptors are, for whoever looks for one too many."""
        found = []
        for fd in sorted((Path("/proc") / str(self.pid) / "fd").iterdir(), key=lambda path: int(path.name)):
            try:
                found.append(f"{fd.name}={os.readlink(fd)}")
            except OSError:
                continue
        return found

    def log_lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []

    def knows_reload(self) -> bool:
        """A daemon that does not would be ended by SIGHUP."""
        said = subprocess.run([str(self.binary), "daemon", "--help"], capture_output=True, text=True, check=False, timeout=30)
        return "SIGHUP" in said.stdout

    def listens_udp(self, port: int) -> bool:
        wanted = f":{port:04X}"
        return any(line.split()[1].endswith(wanted) for line in Path("/proc/net/udp").read_text().splitlines()[1:])

    def write_config(self, flows: dict[str, dict[str, Any]], more: str = "") -> None:
        """Renamed into place, so that no reload sees half of it."""
        text = '[daemon]\nlog_level = "info"\n'
        for name, spec in flows.items():
            fields = "".join(f"{key} = {toml(value)}\n" for key, value in {"kind": "mirror", **spec}.items())
            text += f"\n[flow.{name}]\n{fields}"
        beside = self.config.with_suffix(".new")
        beside.write_text(text + more)
        beside.rename(self.config)


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(toml(item) for item in value)}]"
    return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
