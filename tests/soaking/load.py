"""The clients: who connects to which flow, how often, what they send, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Awaitable, Callable

from .peers import Peer, close, read, reset
from .wire import ANSWER, HEADER, LONGEST, REQUEST, Book, Checker, Entry, Wrong, frame

# Whatever a client waits for has to come within this time.
ANSWER_WITHIN = 60
MOST_CLIENTS = 150


class Client:
    """One connection of one client."""

    def __init__(self, load: Load, flow: str, entry: Entry, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.load = load
        self.flow = flow
        self.entry = entry
        self.reader = reader
        self.writer = writer
        self.checker = Checker((ANSWER,))
        self.farewell = -1

    async def send(self, length: int, want: int = 0) -> None:
        data = frame(REQUEST, self.entry.connection, self.entry.frames, length, want)
        self.entry.frames += 1
        self.entry.sent += len(data)
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), ANSWER_WITHIN)

    async def ask(self, length: int, want: int) -> None:
        """Sends, and waits for the answer."""
        await self.send(length, want)
        while self.checker.next[ANSWER] < self.entry.frames:
            if not await self._read():
                raise Wrong(f"connection {self.entry.connection}: a FIN where an answer is due")

    async def finish(self) -> None:
        """Ends its side, and reads what the target still has to say."""
        self.entry.ended = "fin"
        self.writer.write_eof()
        while await self._read():
            pass
        if self.farewell != self.entry.sent & 0xFFFFFFFF or self.checker.rest or self.checker.next[ANSWER] != self.entry.frames + 1:
            raise Wrong(
                f"connection {self.entry.connection}: a FIN after {self.checker.next[ANSWER]} of {self.entry.frames + 1} answers; "
                f"the target has got {self.farewell} of {self.entry.sent} bytes"
            )
        book = self.load.book
        book.add(self.flow, "client_sent", self.entry.sent)
        book.add(self.flow, "client_got", self.checker.bytes[ANSWER])
        book.arrived(self.entry, "client")
        await close(self.writer)

    def reset(self) -> None:
        self.entry.ended = "reset"
        self.load.book.add(self.flow, "client_sent", self.entry.sent)
        self.load.book.add(self.flow, "resets")
        self.load.book.forget(self.entry)
        reset(self.writer)

    async def read_answers(self, count: int) -> None:
        while self.checker.next[ANSWER] < count and await self._read():
            pass

    async def _read(self) -> bool:
        data = await read(self.reader, self.writer, ANSWER_WITHIN)
        for _, number, want in self.checker.feed(data):
            if number == self.entry.frames:
                self.farewell = want
        return bool(data)


Plan = Callable[[Client], Awaitable[None]]


class Load:
    """All that runs against the daemon, from `start` to `stop`."""

    def __init__(self, book: Book, ports: dict[str, int], due: dict[str, tuple[str, ...]]) -> None:
        self.book = book
        self.ports = ports
        self.due = due  # the mirrors of each flow that have to get everything
        self.pace = 1.0
        self.stopping = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.clients = 0
        self.gates: dict[str, asyncio.Lock] = {}
        self.away: dict[str, Peer] = {}  # the mirror with the spool, by flow

    def spawn(self, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # nothing of the load may end unnoticed
                self.book.wrong(f"the load itself: {error!r}")

        task = asyncio.ensure_future(guarded())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def stop(self, within: float) -> None:
        """Lets all clients come to their end."""
        self.stopping.set()
        if self.tasks:
            _, pending = await asyncio.wait(set(self.tasks), timeout=within)
            for task in pending:
                self.book.wrong(f"a client has not ended {within:.0f} s after it was told to: {task!r}")
                task.cancel()

    async def rest(self, seconds: float) -> bool:
        """Waits; the answer is whether to go on."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)
        return not self.stopping.is_set()

    def every(self, seconds: float, flow: str, choose: Callable[[], Plan]) -> None:
        """Clients that come one after the other, at random, so far apart on average."""

        async def generate() -> None:
            while await self.rest(random.expovariate(1) * seconds / self.pace):
                if self.clients < MOST_CLIENTS:
                    self.spawn(self.client(flow, choose()))

        self.spawn(generate())

    def always(self, count: int, flow: str, choose: Callable[[], Plan]) -> None:
        """So many clients at any time."""

        async def one() -> None:
            while await self.rest(random.random() * 3):
                await self.client(flow, choose())

        for _ in range(count):
            self.spawn(one())

    async def client(self, flow: str, plan: Plan) -> None:
        self.clients += 1
        entry = None
        try:
            # Where the order counts, numbers are given in the order of the connections.
            async with self.gates.setdefault(flow, asyncio.Lock()) if flow in self.away else contextlib.AsyncExitStack():
                entry = self.book.open(flow, ("target", *self.due.get(flow, ())))
                mirror = self.away.get(flow)
                entry.away = mirror is not None and not mirror.is_up and time.monotonic() > mirror.left_at + 0.5
                reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.ports[flow], limit=1 << 17), 10)
                self.book.add(flow, "connected")
                if mirror is not None:
                    await asyncio.sleep(0.03)
            entry.peer = writer.get_extra_info("sockname")
            await self._run(flow, plan, Client(self, flow, entry, reader, writer))
        except (OSError, asyncio.TimeoutError) as error:
            if entry is not None:
                self._cut(flow, entry, f"cannot connect: {error!r}")
        finally:
            self.clients -= 1

    async def _run(self, flow: str, plan: Plan, client: Client) -> None:
        try:
            await plan(client)
        except (OSError, asyncio.TimeoutError, Wrong) as error:
            self._cut(flow, client.entry, repr(error))
            reset(client.writer)

    def _cut(self, flow: str, entry: Entry, why: str) -> None:
        if self.book.may_be_cut(entry):
            self.book.add(flow, "excused")
        else:
            self.book.add(flow, "failed")
            age = time.monotonic() - entry.begun
            self.book.wrong(f"{flow}: connection {entry.connection}, {age:.1f} s old, {entry.sent} bytes sent: {why}")
        entry.ended = entry.ended or "reset"
        self.book.forget(entry)


def size(most: int) -> int:
    """Small ones are as frequent as large ones: evenly distributed in their logarithm."""
    return max(1, int(most ** random.random()))


def talk(load: Load, messages: int, pause: float, most: int = 600) -> Plan:
    """Small messages on a long connection, each answered before the next one."""

    async def plan(client: Client) -> None:
        for _ in range(messages):
            await client.ask(size(most), size(most))
            if not await load.rest(random.random() * 2 * pause):
                break
        await client.finish()

    return plan


def idle(load: Load, seconds: float) -> Plan:
    """A message, a long silence, a message."""

    async def plan(client: Client) -> None:
        await client.ask(100, 100)
        await load.rest(seconds)
        await client.ask(100, 100)
        await client.finish()

    return plan


def short(total: int, want: int = 0) -> Plan:
    """All of it at once, then the FIN, then what is answered."""

    async def plan(client: Client) -> None:
        lengths = [min(LONGEST, total - at) for at in range(0, total, LONGEST)]

        async def send() -> None:
            for length in lengths:
                await client.send(length, want)

        await asyncio.gather(send(), client.read_answers(len(lengths)))
        await client.finish()

    return plan


def bulk(total: int) -> Plan:
    """Much in one direction, little in the other."""
    return short(total, 50)


def drip(parts: int, most: int, seconds: float) -> Plan:
    """A connection that is going on for a while, answered only at its end."""

    async def plan(client: Client) -> None:
        for _ in range(parts):
            await client.send(size(most))
            await asyncio.sleep(seconds / parts)
        await client.finish()

    return plan


def broken_off() -> Plan:
    """Ends with a reset, before, in or after its frames."""

    async def plan(client: Client) -> None:
        for _ in range(random.randrange(4)):
            await client.send(size(100_000), size(20_000))
        if random.random() < 0.5:
            await asyncio.sleep(random.random() * 0.5)
        if random.random() < 0.3 and client.entry.frames:
            part = frame(REQUEST, client.entry.connection, client.entry.frames, 5000)[: random.randrange(1, HEADER + 5000)]
            client.entry.sent += len(part)
            client.writer.write(part)
        client.reset()

    return plan
