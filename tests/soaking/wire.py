"""What travels: frames that say whose they are, and the book of what was sent and where it has to arrive.

A frame is magic (request or answer) | connection, u64 | number, u32 | length of the answer that is wanted, u32 | length of
the payload, u32 | CRC-32 of all of that and the payload, u32 | payload. The payload follows from connection and number.
"""

from __future__ import annotations

import collections
import random
import struct
import time
import zlib
from typing import Callable

HEAD = struct.Struct("!4sQIII")
SUM = struct.Struct("!I")
HEADER = HEAD.size + SUM.size
REQUEST, ANSWER = b"SOAK", b"ECHO"
LONGEST = 256 << 10
POOL = memoryview(random.Random(7).randbytes(2 << 20))


class Wrong(Exception):
    """Something arrived that nobody sent so."""


def payload(connection: int, number: int, length: int) -> memoryview:
    start = (connection * 7919 + number * 104729) % (len(POOL) - LONGEST)
    return POOL[start : start + length]


def frame(magic: bytes, connection: int, number: int, length: int, want: int = 0) -> bytes:
    head = HEAD.pack(magic, connection, number, want, length)
    data = payload(connection, number, length)
    return b"".join((head, SUM.pack(zlib.crc32(data, zlib.crc32(head))), data))


class Checker:
    """Takes one connection's bytes as they come, and says which frames are whole. Each kind has to come in order."""

    def __init__(self, kinds: tuple[bytes, ...]) -> None:
        self.next = dict.fromkeys(kinds, 0)
        self.bytes = dict.fromkeys(kinds, 0)
        self.connection: int | None = None
        self.rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, int, int]]:
        """The frames that are whole now: kind, number, wanted length of the answer."""
        self.rest += data
        whole = []
        at = 0
        while len(self.rest) - at >= HEADER:
            magic, connection, number, want, length = HEAD.unpack_from(self.rest, at)
            self._begin(magic, connection, number, length)
            end = at + HEADER + length
            if len(self.rest) < end:
                break
            with memoryview(self.rest) as view:
                crc = zlib.crc32(view[at + HEADER : end], zlib.crc32(view[at : at + HEAD.size]))
            if crc != SUM.unpack_from(self.rest, at + HEAD.size)[0]:
                raise Wrong(f"checksum of frame {number} of connection {connection}")
            if self.rest[at + HEADER : end] != payload(connection, number, length):
                raise Wrong(f"payload of frame {number} of connection {connection}")
            self.next[magic] += 1
            self.bytes[magic] += HEADER + length
            whole.append((magic, number, want))
            at = end
        del self.rest[:at]
        return whole

    def _begin(self, magic: bytes, connection: int, number: int, length: int) -> None:
        if magic not in self.next or length > LONGEST:
            raise Wrong(f"no frame but {bytes(self.rest[:40])!r}, connection {self.connection}")
        if self.connection not in (None, connection):
            raise Wrong(f"bytes of connection {connection} in connection {self.connection}")
        self.connection = connection
        if number != self.next[magic]:
            raise Wrong(f"frame {number} of connection {connection} where {self.next[magic]} is due")

    def check_rest(self) -> None:
        """What a stream that was cut ends with is the beginning of a frame."""
        if len(self.rest) >= HEADER:
            _, connection, number, _, _ = HEAD.unpack_from(self.rest, 0)
            part = self.rest[HEADER:]
            if part != payload(connection, number, len(part)):
                raise Wrong(f"the beginning of frame {number} of connection {connection}")


class Entry:
    """One client's connection. It goes from the book when everything that is due has arrived."""

    __slots__ = ("answered", "away", "begun", "connection", "due", "ended", "flow", "frames", "peer", "sent")

    def __init__(self, connection: int, flow: str, due: set[str]) -> None:
        self.connection = connection
        self.flow = flow
        self.due = due
        self.begun = time.monotonic()
        self.peer: tuple[str, int] | None = None  # the client's own address
        self.sent = 0  # bytes by the client so far, counted before they are written
        self.answered = 0  # bytes by the target
        self.frames = 0
        self.ended = ""  # how the client ended: fin or reset
        self.away = False  # its mirror was away when it began


class Book:
    """What was sent, what is still due, what went wrong."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.cut: collections.deque[Entry] = collections.deque()
        self.last = 0
        self.tally: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.shaky: dict[str, Callable[[Entry], bool]] = {}  # whether a connection of this flow may be cut
        self.wrongs: list[str] = []
        self.wrong_count = 0

    def open(self, flow: str, due: tuple[str, ...]) -> Entry:
        self.last += 1
        entry = Entry(self.last, flow, {"client", *due})
        self.entries[self.last] = entry
        return entry

    def add(self, flow: str, what: str, count: int = 1) -> None:
        self.tally[flow][what] += count

    def arrived(self, entry: Entry, what: str) -> None:
        entry.due.discard(what)
        if not entry.due:
            self.entries.pop(entry.connection, None)

    def forget(self, entry: Entry) -> None:
        """Nothing is promised for it any more. It stays for a while, because its bytes may still arrive."""
        entry.due = {"nothing"}
        self.cut.append(entry)
        self.purge(120)

    def may_be_cut(self, entry: Entry) -> bool:
        return entry.ended == "reset" or (entry.flow in self.shaky and self.shaky[entry.flow](entry))

    def purge(self, older_than: float) -> None:
        while self.cut and self.cut[0].begun < time.monotonic() - older_than:
            self.entries.pop(self.cut.popleft().connection, None)

    def wrong(self, text: str) -> None:
        self.wrong_count += 1
        if len(self.wrongs) < 200:
            line = f"{time.strftime('%H:%M:%S')} {text}"
            self.wrongs.append(line)
            print(f"WRONG: {line}", flush=True)
