"""Datagrams: a few clients, a target that answers each one, and a mirror. On loopback and at this pace none is lost."""

from __future__ import annotations

import asyncio
import random

from .load import Load
from .wire import ANSWER, REQUEST, Book, Checker, Wrong, frame

Address = tuple[str, int]


class Sessions:
    """What the target, the mirror and the clients have yet to get: connection and number of each datagram."""

    def __init__(self, book: Book, flow: str) -> None:
        self.book = book
        self.flow = flow
        self.due: dict[str, set[tuple[int, int]]] = {"target": set(), "mirror": set(), "client": set()}

    def expect(self, who: str, connection: int, number: int) -> None:
        self.due[who].add((connection, number))

    def arrived(self, who: str, kind: bytes, data: bytes) -> tuple[int, int, int] | None:
        """One datagram is one frame, and comes once: its connection, number, and wanted length of the answer."""
        checker = Checker((kind,))
        checker.next[kind] = int.from_bytes(data[12:16], "big")
        try:
            frames = checker.feed(data)
            if len(frames) != 1 or checker.rest or checker.connection is None:
                raise Wrong(f"{len(frames)} frames and {len(checker.rest)} bytes in a datagram")
            _, number, want = frames[0]
            if (checker.connection, number) not in self.due[who]:
                raise Wrong(f"datagram {number} of {checker.connection} comes again, or nobody has sent it")
        except Wrong as error:
            self.book.wrong(f"{self.flow}: {who}: {error}")
            return None
        self.due[who].discard((checker.connection, number))
        self.book.add(self.flow, f"{who}_got", len(data))
        self.book.add(self.flow, f"{who}_datagrams")
        return checker.connection, number, want


class End(asyncio.DatagramProtocol):
    """One socket: a client, the target or the mirror."""

    def __init__(self, sessions: Sessions, who: str) -> None:
        self.sessions = sessions
        self.who = who
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, address: Address) -> None:
        got = self.sessions.arrived(self.who, ANSWER if self.who == "client" else REQUEST, data)
        if got and self.who == "target" and self.transport:
            connection, number, want = got
            answer = frame(ANSWER, connection, number, want)
            self.sessions.expect("client", connection, number)
            self.sessions.book.add(self.sessions.flow, "target_sent", len(answer))
            self.transport.sendto(answer, address)


class Datagrams:
    """The flow `udp`: target and mirror as long as the soak runs, clients while there is load."""

    def __init__(self, book: Book, flow: str, port: int, target_port: int, mirror_port: int) -> None:
        self.book = book
        self.flow = flow
        self.port = port
        self.ports = {"target": target_port, "mirror": mirror_port}
        self.sessions = Sessions(book, flow)
        self.transports: list[asyncio.BaseTransport] = []

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for who, port in self.ports.items():
            transport, _ = await loop.create_datagram_endpoint(lambda who=who: End(self.sessions, who), local_addr=("127.0.0.1", port))
            self.transports.append(transport)

    def start(self, load: Load, clients: int) -> None:
        for _ in range(clients):
            load.spawn(self._client(load))

    async def _client(self, load: Load) -> None:
        loop = asyncio.get_running_loop()
        while await load.rest(random.random() * 5):
            self.book.last += 1
            connection = self.book.last
            transport, _ = await loop.create_datagram_endpoint(lambda: End(self.sessions, "client"), remote_addr=("127.0.0.1", self.port))
            for number in range(random.randrange(20, 300)):
                data = frame(REQUEST, connection, number, random.randrange(1, 1400), random.randrange(1, 1400))
                self.sessions.expect("target", connection, number)
                self.sessions.expect("mirror", connection, number)
                self.book.add(self.flow, "client_sent", len(data))
                self.book.add(self.flow, "datagrams")
                transport.sendto(data)
                if not await load.rest(random.expovariate(1) * 0.4 / load.pace):
                    break
            await asyncio.sleep(2)  # for the last answers
            transport.close()

    def lost(self) -> dict[str, int]:
        """What has not arrived. It is known to be lost when nothing is on its way any more."""
        return {who: len(due) for who, due in self.sessions.due.items() if due}

    def close(self) -> None:
        for transport in self.transports:
            transport.close()
