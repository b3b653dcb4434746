"""The flows of the soak, those whom they lead to, and what goes on beside the clients: outages, reloads, calls."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from typing import Any

from .daemon import Daemon
from .load import Load, broken_off, bulk, drip, idle, short, size, talk
from .peers import Mirror, Peer, Stuck, Target, close, free_port, rude
from .udp import Datagrams
from .wire import ANSWER, REQUEST, Book, Entry

# The mirrors of each flow that have to get everything that their clients end with a FIN.
DUE = {
    "steady": ("requests", "both", "answers"),
    "short": ("mirror",),
    "rough": ("mirror",),
    "trouble": ("healthy",),
    "spool": ("kept",),
    "list": ("mirror",),
    "proxy": ("mirror",),
    "extra": ("mirror",),
}
STUCK_BUFFER = 256 << 10


class Home:
    """Targets and mirrors on ports of their own, and the daemon's flows between them and the clients."""

    def __init__(self, book: Book, daemon: Daemon) -> None:
        self.book = book
        self.daemon = daemon
        self.taken: set[int] = set()
        self.ports = {flow: free_port(self.taken) for flow in (*DUE, "udp")}
        self.peers: dict[str, Peer] = {}
        self.stuck = Stuck()
        self.flows = self._flows()
        self.udp = Datagrams(book, "udp", self.ports["udp"], free_port(self.taken), free_port(self.taken))
        udp_mirror = {"address": f"127.0.0.1:{self.udp.ports['mirror']}"}
        self.udp_flow = {
            "listen": f"127.0.0.1:{self.ports['udp']}",
            "protocol": "udp",
            "target": f"127.0.0.1:{self.udp.ports['target']}",
            "udp_session_timeout": "20s",
            "mirrors": [udp_mirror],
        }
        self.removing = False
        self.reloads = 0
        self.calls = 0
        self.events = 0
        book.shaky["list"] = self._began_with_the_outage
        book.shaky["extra"] = lambda entry: self.removing

    def _target(self, flow: str, name: str, expects_header: int = 0) -> str:
        return self._peer(name, Target(self.book, flow, expects_header).serve)

    def _mirror(self, flow: str, name: str, gets: tuple[bytes, ...] = (REQUEST,), **more: Any) -> str:
        return self._peer(f"{flow}/{name}", Mirror(self.book, flow, name, gets, **more).serve)

    def _peer(self, name: str, serve: Any) -> str:
        peer = Peer(free_port(self.taken), serve)
        self.peers[name] = peer
        return f"127.0.0.1:{peer.port}"

    def _flows(self) -> dict[str, dict[str, Any]]:
        flows: dict[str, dict[str, Any]] = {}
        for flow in DUE:
            header = self.ports[flow] if flow == "proxy" else 0
            flows[flow] = {"listen": f"127.0.0.1:{self.ports[flow]}", "target": self._target(flow, f"{flow}/target", header)}
        flows["steady"]["mirrors"] = [
            {"address": self._mirror("steady", "requests")},
            {"address": self._mirror("steady", "both", (REQUEST, ANSWER)), "from_target": True},
            {"address": self._mirror("steady", "answers", (ANSWER,)), "from_client": False, "from_target": True},
        ]
        flows["short"]["mirrors"] = [{"address": self._mirror("short", "mirror"), "buffer": "4 MiB"}]
        flows["rough"]["mirrors"] = [{"address": self._mirror("rough", "mirror"), "buffer": "4 MiB"}]
        flows["trouble"]["mirrors"] = [
            {"address": self._mirror("trouble", "healthy"), "buffer": "16 MiB"},
            {"address": self._peer("trouble/stuck", self.stuck.serve), "buffer": STUCK_BUFFER},
            {"address": self._peer("trouble/rude", rude)},
        ]
        flows["spool"]["mirrors"] = [{"address": self._mirror("spool", "kept", kept=True), "spool": {"max_bytes": "256 MiB"}}]
        flows["list"]["target"] = [flows["list"]["target"], self._target("list", "list/second")]
        flows["list"]["mirrors"] = [{"address": self._mirror("list", "mirror"), "buffer": "4 MiB"}]
        flows["proxy"]["proxy_protocol"] = "v2"
        flows["proxy"]["mirrors"] = [{"address": self._mirror("proxy", "mirror", expects_header=self.ports["proxy"]), "buffer": "4 MiB"}]
        self.extra = flows.pop("extra")
        self.extra["mirrors"] = [{"address": self._mirror("extra", "mirror")}]
        return flows

    def _began_with_the_outage(self, entry: Entry) -> bool:
        """Whoever was in the listener's queue when it closed is reset by the kernel."""
        return abs(entry.begun - self.peers["list/target"].left_at) < 1.5

    async def up(self) -> None:
        for peer in self.peers.values():
            await peer.up()

    def close(self) -> None:
        self.stuck.clear()
        self.udp.close()
        for peer in self.peers.values():
            peer.down(cut=True)

    def start(self, load: Load, seconds: float, reload: bool) -> None:
        """Everything that makes up the load, for a phase that is so long."""
        load.always(40, "steady", lambda: talk(load, random.randrange(20, 400), 1))
        load.always(6, "steady", lambda: idle(load, random.uniform(60, 480)))
        load.every(0.2, "short", lambda: random.choice((short(size(1 << 20)), short(size(1 << 18), size(1 << 18)), talk(load, 2, 0.1))))
        load.every(0.5, "rough", broken_off)
        load.every(1, "trouble", lambda: short(size(1 << 18)))
        load.every(30, "trouble", lambda: bulk(8 << 20))
        load.every(1.5, "spool", lambda: random.choice((short(size(1 << 18)), short(size(1 << 12)), drip(6, 1 << 12, random.random() * 3))))
        load.every(0.5, "list", lambda: short(size(1 << 16), size(1 << 10)))
        load.every(0.5, "proxy", lambda: random.choice((short(size(1 << 16), size(1 << 10)), talk(load, 5, 0.3))))
        load.away["spool"] = self.peers["spool/kept"]
        round_trip = min(240.0, max(24.0, seconds / 5))
        load.spawn(self._outages(load, self.peers["spool/kept"], round_trip, cut=True))
        load.spawn(self._outages(load, self.peers["list/target"], round_trip * 0.8, cut=False))
        load.spawn(self._edits(load, min(150.0, max(8.0, seconds / 12)), reload))
        load.spawn(self._calls(load))
        load.spawn(self._misuse(load))
        load.spawn(self._poll(load))
        if "udp" in self.flows:
            self.udp.start(load, 8)

    async def _outages(self, load: Load, peer: Peer, round_trip: float, cut: bool) -> None:
        while await load.rest(round_trip * random.uniform(0.5, 0.8)):
            peer.down(cut)
            await load.rest(round_trip * random.uniform(0.2, 0.4))
            await peer.up()

    async def _edits(self, load: Load, pause: float, reload: bool) -> None:
        """A flow is added, changed under its clients, and removed; those that carry load are changed meanwhile."""
        spec = dict(self.extra)
        going = True
        while going and await load.rest(pause):
            spec["connect_timeout"] = "5s"
            await self._edit(load, spec, reload)
            for _ in range(3):
                load.spawn(load.client("extra", talk(load, random.choice((5, 50, 1000)), 1)))
            going = await load.rest(pause)
            spec["connect_timeout"] = "6s"
            for flow in self.flows.values():
                flow["connect_timeout"] = random.choice(("5s", "6s", "7s"))
            await self._edit(load, spec, reload)
            load.spawn(load.client("extra", talk(load, random.choice((5, 50, 1000)), 1)))
            if reload and going:
                going = await load.rest(pause)
                await self._spoil(spec)
            going = going and await load.rest(pause)
            self.removing = True
            await self._edit(load, None, reload)
            await asyncio.sleep(2)  # clients and mirrors notice
            self.removing = False

    async def _edit(self, load: Load, extra: dict[str, Any] | None, reload: bool) -> None:
        if reload:
            self.daemon.write_config({**self.flows, **({"extra": extra} if extra else {})})
            self.daemon.signal(signal.SIGHUP)
        elif extra:
            await self.daemon.call("flow.apply", {"id": "extra", "owner": "soak", "kind": "mirror", "spec": extra})
        else:
            await self.daemon.call("flow.remove", {"id": "extra"})
        if await self._until(extra):
            self.reloads += 1
        else:
            self.book.wrong(f"the edit to {extra} is not there after 10 s")

    async def _until(self, extra: dict[str, Any] | None) -> bool:
        for _ in range(50):
            await asyncio.sleep(0.2)
            found = [flow for flow in await self.daemon.call("flow.list") if flow["id"] == "extra"]
            if extra and found and found[0]["isListening"] and found[0]["spec"]["connect_timeout"] == extra["connect_timeout"]:
                return True
            if not extra and not found:
                return True
        return False

    async def _spoil(self, extra: dict[str, Any]) -> None:
        """A file that is wrong is refused whole."""
        before = await self.daemon.call("flow.list")
        self.daemon.write_config({"extra": extra}, "[flow.spoilt]\nkind = 7\n")
        self.daemon.signal(signal.SIGHUP)
        await asyncio.sleep(2)
        after = await self.daemon.call("flow.list")
        if [(flow["id"], flow["spec"]) for flow in before] != [(flow["id"], flow["spec"]) for flow in after]:
            self.book.wrong("a file with an error has changed flows")

    async def _calls(self, load: Load) -> None:
        methods = ("flow.list", "flow.status", "flow.counters", "log.tail", "flow.kinds", "daemon.hello", "/metrics", "flow.check")
        while await load.rest(random.uniform(0.3, 1.2)):
            method = random.choice(methods)
            params: dict[str, Any] = {}
            if method == "flow.status":
                params = {"id": random.choice(list(self.flows))}
            elif method == "flow.check":
                params = {"kind": "mirror", "spec": random.choice(list(self.flows.values()))}
            elif method == "daemon.hello":
                params = {"client": "soak", "api": 1}
            try:
                await (self.daemon.metrics() if method == "/metrics" else self.daemon.call(method, params))
                self.calls += 1
            except (OSError, asyncio.TimeoutError, RuntimeError, ValueError, IndexError) as error:
                self.book.wrong(f"API: {method}: {error!r}")

    async def _misuse(self, load: Load) -> None:
        """Callers that may not, and those that make no sense."""
        request = self.daemon.request
        batch = [{"jsonrpc": "2.0", "id": i, "method": "flow.list", "params": {}} for i in range(20)]
        cases = [
            (401, request("POST", "/", b"{}", token="wrong" * 5)),
            (401, request("GET", "/metrics", token="")),
            (404, request("GET", "/nothing")),
            (400, request("POST", "/", b"no JSON at all")),
            (200, request("POST", "/", b'{"jsonrpc": "2.0", "id": 1, "method": "no.such", "params": {}}')),
            (200, request("POST", "/", json.dumps(batch).encode())),
        ]
        while await load.rest(random.uniform(1, 4)):
            wanted, text = random.choice(cases)
            try:
                status, _ = await self.daemon.http(text)
                if status != wanted:
                    self.book.wrong(f"API: HTTP {status} instead of {wanted} to {text[:200]!r}")
                _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.daemon.port), 5)
                writer.write(text[: random.randrange(len(text))])
                await close(writer)
            except (OSError, asyncio.TimeoutError, IndexError, ValueError) as error:
                self.book.wrong(f"API: {error!r} to {text[:200]!r}")

    async def _poll(self, load: Load) -> None:
        cursor = None
        while await load.rest(0.1):
            try:
                params = {"wait_ms": 5000, **({"cursor": cursor} if cursor else {})}
                polled = await self.daemon.call("event.poll", params)
            except (OSError, asyncio.TimeoutError, RuntimeError, ValueError, IndexError) as error:
                self.book.wrong(f"API: event.poll: {error!r}")
                await asyncio.sleep(1)
                continue
            cursor = polled["cursor"]
            self.events += len(polled["events"])
            if polled["missed"]:
                self.book.wrong("API: event.poll has missed events")


async def govern(load: Load, daemon: Daemon, cores: float) -> None:
    """Keeps what daemon and clients use together near `cores`."""

    def used() -> float:
        return time.process_time() + daemon.uses()["cpu_s"]

    before, at = used(), time.monotonic()
    while await load.rest(5):
        now, used_now = time.monotonic(), used()
        share = (used_now - before) / (now - at)
        load.pace = min(30.0, max(0.1, load.pace * min(1.5, max(0.67, cores / max(share, 0.01)))))
        before, at = used_now, now
