"""Who the daemon dials: targets that answer, mirrors that check, and those that make trouble."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import socket
import struct
import time
from typing import Awaitable, Callable

from .wire import ANSWER, HEADER, LONGEST, REQUEST, Book, Checker, Entry, Wrong, frame

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# An end that hears nothing for so long is forgotten by somebody.
PATIENCE = 900


def free_port(taken: set[int]) -> int:
    """A port that nobody gets by chance: below those that the kernel hands out."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        lowest = int(file.read().split()[0])
    for _ in range(2000):
        port = random.randrange(max(10000, lowest // 2), lowest)
        if port in taken:
            continue
        with contextlib.ExitStack() as stack:
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise RuntimeError("no free port")


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes with a RST."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, within: float) -> bytes:
    """What has come; nothing means a FIN."""
    data = await asyncio.wait_for(reader.read(1 << 16), within)
    if not data and writer.transport.is_closing():
        raise ConnectionAbortedError("by this end")
    return data


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 5)


class Peer:
    """Listens on one port, goes away, and comes back."""

    def __init__(self, port: int, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.port = port
        self.serve = serve
        self.server: asyncio.AbstractServer | None = None
        self.open: set[asyncio.StreamWriter] = set()
        self.left_at = 0.0

    @property
    def is_up(self) -> bool:
        return self.server is not None

    async def up(self) -> None:
        for attempt in range(50):
            if self.server is not None:
                return
            try:
                self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 17, backlog=1024)
            except OSError:
                if attempt == 49:
                    raise
                await asyncio.sleep(0.1)

    def down(self, cut: bool) -> None:
        """Listens no more; `cut` resets those that are connected, too."""
        self.left_at = time.monotonic()
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in self.open if cut else ():
            # One that is closing has got everything and said so.
            if not writer.transport.is_closing():
                reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            await self.serve(reader, writer)
        except asyncio.CancelledError:
            reset(writer)
        finally:
            self.open.discard(writer)


class Target:
    """Answers each request with what it wants, and after the client's FIN says how much it has got."""

    def __init__(self, book: Book, flow: str, expects_header: int = 0) -> None:
        self.book = book
        self.flow = flow
        self.listen = expects_header  # the port that a PROXY header has to name; 0: there is none

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        checker = Checker((REQUEST,))
        entry = None
        fin = False
        try:
            named = await read_header(reader, self.listen) if self.listen else None
            while True:
                data = await read(reader, writer, PATIENCE)
                if not data:
                    break
                for _, number, want in checker.feed(data):
                    entry = entry or self._entry(checker, named)
                    await self._send(writer, entry, number, want)
            fin = True
            if checker.connection is None and not checker.rest:
                self.book.add(self.flow, "empty")  # a probe, or a client that went at once
            else:
                self._whole(checker)
                entry = entry or self._entry(checker, named)
                await self._send(writer, entry, checker.next[REQUEST], 0, checker.bytes[REQUEST])
                self.book.add(self.flow, "target_got", checker.bytes[REQUEST])
                self.book.add(self.flow, "target_sent", entry.answered)
                self.book.add(self.flow, "header_bytes", 28 if self.listen else 0)
                self.book.arrived(entry, "target")
            await close(writer)
        except Wrong as error:
            self.book.wrong(f"{self.flow}: target: {error}")
            reset(writer)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
            known = self.book.entries.get(checker.connection or 0)
            if known and not fin and not self.book.may_be_cut(known):
                self.book.wrong(f"{self.flow}: target: connection {known.connection} was cut: {error!r}")
            self._cut(checker)
            reset(writer)

    def _cut(self, checker: Checker) -> None:
        try:
            checker.check_rest()
        except Wrong as error:
            self.book.wrong(f"{self.flow}: target, before a reset: {error}")

    def _entry(self, checker: Checker, named: tuple[str, int] | None) -> Entry:
        return known_entry(self.book, self.flow, checker, named)

    def _whole(self, checker: Checker) -> None:
        entry = self.book.entries.get(checker.connection or 0)
        if checker.rest or entry is None or entry.ended != "fin" or checker.bytes[REQUEST] != entry.sent:
            sent, ended = (entry.sent, entry.ended) if entry else (None, None)
            raise Wrong(
                f"a FIN after {checker.bytes[REQUEST]} + {len(checker.rest)} bytes of connection {checker.connection}, "
                f"which has sent {sent} and ended with {ended!r}"
            )

    async def _send(self, writer: asyncio.StreamWriter, entry: Entry, number: int, length: int, total: int = 0) -> None:
        data = frame(ANSWER, entry.connection, number, min(length, LONGEST), total & 0xFFFFFFFF)
        entry.answered += len(data)
        writer.write(data)
        await asyncio.wait_for(writer.drain(), PATIENCE)


def known_entry(book: Book, flow: str, checker: Checker, named: tuple[str, int] | None) -> Entry:
    entry = book.entries.get(checker.connection or 0)
    if entry is None or entry.flow != flow:
        raise Wrong(f"connection {checker.connection} is over, unknown, or not of this flow")
    if named is not None and entry.peer is not None and named != entry.peer:
        raise Wrong(f"the PROXY header names {named}, the client is {entry.peer}")
    return entry


async def read_header(reader: asyncio.StreamReader, listen: int) -> tuple[str, int] | None:
    """The client's address in a PROXY header of version 2; `None`: a probe."""
    fixed = await asyncio.wait_for(reader.readexactly(16), 30)
    if not fixed.startswith(SIGNATURE):
        raise Wrong(f"no PROXY header but {fixed!r}")
    command, family, length = struct.unpack("!BBH", fixed[12:])
    block = await asyncio.wait_for(reader.readexactly(length), 30)
    if command == 0x20:
        return None
    if (command, family, length) != (0x21, 0x11, 12):
        raise Wrong(f"a PROXY header {fixed + block!r}")
    port, to_port = struct.unpack("!HH", block[8:])
    if (block[4:8], to_port) != (b"\x7f\0\0\x01", listen):
        raise Wrong(f"the PROXY header says that the client connected to {block[4:8]!r}:{to_port}")
    return socket.inet_ntoa(block[:4]), port


class Mirror:
    """Checks a copy. `gets` says what is in it: requests, answers, or both. `kept`: what it misses comes again."""

    def __init__(self, book: Book, flow: str, name: str, gets: tuple[bytes, ...], expects_header: int = 0, kept: bool = False) -> None:
        self.book = book
        self.flow = flow
        self.name = name
        self.gets = gets
        self.listen = expects_header
        self.kept = kept
        self.began = 0  # connections to it
        self.whole: collections.deque[tuple[int, int]] = collections.deque(maxlen=5000)  # whose began when, of the last that are whole

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        checker = Checker(self.gets)
        self.began += 1
        place = self.began
        try:
            named = await read_header(reader, self.listen) if self.listen else None
            while True:
                data = await read(reader, writer, PATIENCE)
                if not data:
                    break
                checker.feed(data)
                if named and checker.connection:
                    known_entry(self.book, self.flow, checker, named)
            self._whole(checker, place)
            await close(writer)
        except Wrong as error:
            self.book.wrong(f"{self.flow}: {self.name}: {error}")
            reset(writer)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
            self._cut(checker, error)
            reset(writer)

    def _whole(self, checker: Checker, place: int) -> None:
        entry = self.book.entries.get(checker.connection or 0)
        if checker.connection is None:
            if checker.rest:
                raise Wrong(f"a FIN after {len(checker.rest)} bytes")
            return  # of a client that said nothing
        if self.kept and (entry is None or self.name not in entry.due) and any(known == checker.connection for known, _ in self.whole):
            self.book.add(self.flow, "repeated")
            return
        if entry is None or entry.ended != "fin" or checker.rest:
            known = f"has sent {entry.sent} bytes and ended with {entry.ended!r}" if entry else "is over or unknown"
            raise Wrong(f"a FIN after {checker.bytes} + {len(checker.rest)} bytes of connection {checker.connection}, which {known}")
        due = {REQUEST: entry.sent, ANSWER: entry.answered}
        for kind, got in checker.bytes.items():
            if got != due[kind]:
                raise Wrong(f"a FIN after {got} of {due[kind]} bytes of {kind!r} of connection {checker.connection}")
        if self.kept:
            if entry.away:
                early = [later for later, began in self.whole if later > entry.connection and began < place]
                if early:
                    raise Wrong(f"connection {entry.connection}, kept while the mirror was away, comes after {early[:5]}")
            self.whole.append((entry.connection, place))
        self.book.add(self.flow, "copies")
        self.book.add(self.flow, "copied", sum(checker.bytes.values()) + (28 if self.listen else 0))
        self.book.arrived(entry, self.name)

    def _cut(self, checker: Checker, error: Exception) -> None:
        try:
            checker.check_rest()
        except Wrong as wrong:
            self.book.wrong(f"{self.flow}: {self.name}, before a reset: {wrong}")
        entry = self.book.entries.get(checker.connection or 0)
        if not self.kept and entry is not None and not self.book.may_be_cut(entry):
            self.book.wrong(f"{self.flow}: {self.name}: the copy of connection {entry.connection} was cut after {checker.bytes}: {error!r}")


class Stuck:
    """Takes connections and never reads from them."""

    def __init__(self) -> None:
        self.held: collections.deque[tuple[float, asyncio.StreamWriter]] = collections.deque()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        self.held.append((time.monotonic() + 20, writer))
        while self.held and (self.held[0][0] < time.monotonic() or len(self.held) > 500):
            reset(self.held.popleft()[1])

    def clear(self) -> None:
        while self.held:
            reset(self.held.popleft()[1])


async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads a little, and resets."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
        await asyncio.wait_for(reader.readexactly(random.choice((1, HEADER, 5000))), 10)
    reset(writer)
