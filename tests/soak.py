#!/usr/bin/env python3
"""A soak: a real daemon under a mixed load for a long time, with everything checked that arrives.

    tests/soak.py --minutes 60 [--binary target/release/domoflux] [--cores 0.33] [--dir DIR]

Clients talk, are short, idle, half-closed and reset; a mirror with a spool and the first of two targets go away and come
back; one mirror never reads, one resets; PROXY headers, datagrams, edits of the file and calls of the API go on all along.
Every payload has its connection, number, length and checksum, and is checked at target and mirror.

After 10 minutes (a third of a shorter run) and at the end, the load stops until all is quiet. Then nothing may be missing,
the counters have to be exactly what was sent, descriptors as at the start, memory at the end as after the first time.
Exit code 0: all of that holds. Python 3.9 or newer, Linux, nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True

from soaking.daemon import DEFECT, Daemon  # noqa: E402
from soaking.home import DUE, Home, govern  # noqa: E402
from soaking.load import Load  # noqa: E402
from soaking.wire import Book  # noqa: E402

# All that a client has begun comes to its end within this time, the 10 s of a stuck mirror and the spool's backlog included.
QUIET_WITHIN = 150
FIRST_PART = 600
# Gauges and those that a restart may change.
NOT_KEPT = {"activeConnections", "targetInUse", "spooledConnections", "spooledBytes"}


class Soak:
    """The run, from the start of the daemon to the verdict."""

    def __init__(self, binary: Path, minutes: float, cores: float, work: Path) -> None:
        self.work = work
        self.seconds = minutes * 60
        self.cores = cores
        self.daemon = Daemon(binary, work)
        self.book = Book()
        self.home = Home(self.book, self.daemon)
        self.failures: list[str] = []
        self.quiet: list[dict[str, float]] = []
        self.began = time.monotonic()
        self.reload = False
        self.rows = 0

    def check(self, holds: bool, text: str) -> None:
        if not holds:
            self.failures.append(text)
            print(f"FAILED: {text}", flush=True)

    async def run(self) -> None:
        try:
            await self._begin()
            first = min(FIRST_PART, self.seconds / 3)
            await self._phase(first, "first part")
            await self._phase(self.seconds - first, "rest")
            await self._end()
        finally:
            self.home.close()
            self.daemon.kill()
        self._verdict()

    async def _begin(self) -> None:
        await self.home.up()
        await self.home.udp.listen()
        self.reload = self.daemon.knows_reload()
        self.home.flows["udp"] = self.home.udp_flow
        self.daemon.write_config(self.home.flows)
        await self.daemon.start()
        if not self.daemon.listens_udp(self.home.ports["udp"]):
            print("this build does not listen with UDP: without it")
            await self.daemon.stop()
            del self.home.flows["udp"]
            self.daemon.write_config(self.home.flows)
            await self.daemon.start()
        print(f"daemon {self.daemon.pid}, reload {'by SIGHUP' if self.reload else 'unknown: edits by the API'}, all in {self.work}")
        for flow in await self.daemon.call("flow.list"):
            self.check(flow["isListening"], f"{flow['id']} does not listen: {flow['error']}")
        await asyncio.sleep(3)
        self.start = await self._sample("start")
        self.descriptors = self.daemon.descriptors()

    async def _phase(self, seconds: float, name: str) -> None:
        load = Load(self.book, self.home.ports, DUE)
        self.home.start(load, seconds, self.reload)
        load.spawn(govern(load, self.daemon, self.cores))
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            await asyncio.sleep(max(0.1, min(60, ends - time.monotonic())))
            if not self.daemon.runs():
                self.book.wrong("the daemon has ended")
                break
            await self._sample(f"pace {load.pace:.1f}")
        print(f"-- {name}: waiting until all is quiet", flush=True)
        await load.stop(120)
        await self.home.up()
        await self._until_quiet()
        sample = await self._sample("quiet")
        self.quiet.append(sample)
        await self._check_quiet(name, sample)

    async def _until_quiet(self) -> None:
        for _ in range(QUIET_WITHIN * 2):
            await asyncio.sleep(0.5)
            if not self.daemon.runs():
                return
            self.home.stuck.clear()
            self.book.purge(5)
            busy = sum(flow["connections"] for flow in await self.daemon.call("flow.list"))
            for counters in (await self.daemon.call("flow.counters")).values():
                busy += counters["spooledConnections"] + counters["activeConnections"]
            if not busy and not self.book.entries:
                break
        await asyncio.sleep(3)  # the API's own last connection, memory that is given back

    async def _sample(self, note: str) -> dict[str, float]:
        """A line here, and one in the CSV."""
        uses = self.daemon.uses()
        sums: dict[str, float] = {}
        with contextlib.suppress(OSError, asyncio.TimeoutError, RuntimeError, ValueError, IndexError):
            for counters in (await self.daemon.call("flow.counters")).values():
                for counter, value in counters.items():
                    sums[counter] = sums.get(counter, 0) + value
        row = {"at": time.strftime("%FT%T"), "seconds": round(time.monotonic() - self.began), **uses}
        row.update({"own_cpu_s": round(time.process_time(), 1), "due": len(self.book.entries), "wrong": self.book.wrong_count, **sums})
        with (self.work / "soak.csv").open("a", newline="") as file:
            writer = csv.DictWriter(file, row, extrasaction="ignore")
            if not self.rows:
                writer.writeheader()
            writer.writerow(row)
        self.rows += 1
        print(
            f"{row['seconds']:>5} s  rss {uses['rss_kb']:.0f} KiB, anonymous {uses['anon_kb']:.0f}, "
            f"fds {uses['fds']:.0f}, threads {uses['threads']:.0f}, CPU {uses['cpu_s']:.1f} s (own {row['own_cpu_s']}); "
            f"clients {sums.get('clientConnections', 0):.0f}, "
            f"{sums.get('clientRxBytes', 0) / 1e6:.0f} MB, active {sums.get('activeConnections', 0):.0f}, "
            f"detached {sums.get('mirrorDetached', 0):.0f}, spooled {sums.get('spooledConnections', 0):.0f}, "
            f"replayed {sums.get('spoolReplayed', 0):.0f}; wrong {self.book.wrong_count}; {note}",
            flush=True,
        )
        return {**uses, **sums}

    async def _check_quiet(self, name: str, sample: dict[str, float]) -> None:
        some = list(self.book.entries.values())[:10]
        left = [f"{e.flow} {e.connection}: {sorted(e.due)}, {e.sent} bytes, ended {e.ended!r}" for e in some]
        self.check(not left, f"{name}: {len(self.book.entries)} connections have not arrived everywhere: {left}")
        self.check(not self.home.udp.lost(), f"{name}: datagrams have not arrived: {self.home.udp.lost()}")
        if sample["fds"] != self.start["fds"]:
            now = self.daemon.descriptors()
            self.check(False, f"{name}: {sample['fds']} descriptors, {self.start['fds']} at the start: {now}; before: {self.descriptors}")
        counters = await self.daemon.call("flow.counters")
        for flow in self.home.flows:
            for text in self._compare(flow, counters[flow]):
                self.check(False, f"{name}: {flow}: {text}")
        metrics = await self.daemon.metrics()
        for flow, of_flow in counters.items():
            key = f'domoflux_mirror_client_rx_bytes_total{{flow="{flow}"}}'
            counted = of_flow["clientRxBytes"]
            self.check(metrics.get(key) == counted, f"{name}: {key} is {metrics.get(key)}, the API says {counted}")
        held = metrics.get("domoflux_queue_bytes")
        self.check(held == 0, f"{name}: queues hold {held} bytes")

    def _compare(self, flow: str, got: dict[str, int]) -> list[str]:
        """What the daemon has counted is what was sent here."""
        sent = self.book.tally[flow]
        exact: dict[str, int] = {"activeConnections": 0, "clientRefused": 0, "mirrorRxBytes": 0}
        if flow == "udp":
            exact.update(clientRxBytes=sent["client_sent"], targetTxBytes=sent["client_sent"], mirrorTxBytes=sent["client_sent"])
            exact.update(targetRxBytes=sent["target_sent"], clientTxBytes=sent["target_sent"], droppedDatagrams=0, mirrorDroppedDatagrams=0)
            exact.update(clientRxPkts=sent["datagrams"], clientTxPkts=sent["target_datagrams"])
        elif flow == "rough":
            exact.update(clientConnections=sent["connected"], targetConnections=sent["connected"], targetErrConnect=0)
        elif not sent["excused"] and not sent["failed"]:
            exact.update(clientConnections=sent["connected"], targetConnections=sent["connected"])
            exact.update(clientRxBytes=sent["client_sent"], targetTxBytes=sent["client_sent"] + sent["header_bytes"])
            exact.update(targetRxBytes=sent["target_sent"], clientTxBytes=sent["client_got"], clientErrPkts=0, targetErrPkts=0)
            if flow != "list":
                exact["targetErrConnect"] = 0
            if flow not in ("trouble", "spool"):
                exact.update(mirrorTxBytes=sent["copied"], mirrorConnections=sent["copies"], mirrorErrConnect=0, mirrorErrPkts=0)
                exact.update(mirrorDetached=0, mirrorDroppedBytes=0)
            if flow == "spool":
                exact.update(mirrorDroppedBytes=0, spooledConnections=0, spooledBytes=0, spoolDropped=0)
        wrong = [f"{counter} is {got[counter]} instead of {value}" for counter, value in exact.items() if got[counter] != value]
        if flow != "rough" and sent["target_got"] != sent["client_sent"] and not sent["excused"] and not sent["failed"]:
            wrong.append(f"the target has got {sent['target_got']} of {sent['client_sent']} bytes")
        if flow == "rough" and got["clientRxBytes"] > sent["client_sent"]:
            wrong.append(f"clientRxBytes is {got['clientRxBytes']}, more than the {sent['client_sent']} that were sent")
        if flow == "spool" and sent["repeated"] > got["spoolRepeated"]:
            wrong.append(f"{sent['repeated']} connections came twice, spoolRepeated is {got['spoolRepeated']}")
        return wrong

    async def _end(self) -> None:
        before = await self.daemon.call("flow.counters")
        code, took = await self.daemon.stop()
        self.check(code == 0 and took < 10, f"SIGTERM: code {code} after {took:.1f} s")
        print(f"-- stopped with {code} after {took:.2f} s; started again for the counters", flush=True)
        left = [path.name for path in self.daemon.state.rglob("*.rec")]
        self.check(not left, f"the spool has left {left[:10]}")
        await self.daemon.start()
        after = await self.daemon.call("flow.counters")
        for flow in self.home.flows:
            lost = [name for name, value in before[flow].items() if name not in NOT_KEPT and after.get(flow, {}).get(name) != value]
            self.check(not lost, f"{flow}: a restart has changed {lost}")
        code, took = await self.daemon.stop()
        self.check(code == 0 and took < 10, f"SIGTERM after the restart: code {code} after {took:.1f} s")

    def _verdict(self) -> None:
        self.check(not self.book.wrong_count, f"{self.book.wrong_count} things went wrong, the first: {self.book.wrongs[:3]}")
        first, last = self.quiet[0]["anon_kb"], self.quiet[-1]["anon_kb"]
        most = first + max(1024, first / 10)
        self.check(last <= most, f"anonymous memory is {last:.0f} KiB, after the first part it was {first:.0f}")
        lines = self.daemon.log_lines()
        defects = [line for line in lines if DEFECT.search(line)]
        self.check(not defects, f"the log has {defects[:5]}")
        tally = self.book.tally
        # A soak that did not do what it says proves nothing.
        for flow in self.home.flows:
            self.check(tally[flow]["datagrams" if flow == "udp" else "connected"] > 0, f"nothing went through {flow}")
        end = self.quiet[-1]
        self.check(end.get("spoolReplayed", 0) > 0, "nothing was played back")
        self.check(end.get("mirrorDetached", 0) > 0, "no mirror was detached")
        self.check(end.get("targetErrConnect", 0) > 0, "the first target was never missed")
        self.check(self.home.reloads > 0 and self.home.calls > 0 and self.home.events > 0, "no edits, no calls, or no events")
        ours = time.process_time() / self.seconds
        print(f"\n== {self.seconds / 60:.0f} minutes, {end['cpu_s'] / self.seconds:.3f} cores the daemon, {ours:.3f} this script")
        for flow, counts in sorted(tally.items()):
            print(f"   {flow:8} " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
        print(f"   edits {self.home.reloads}, calls {self.home.calls}, events {self.home.events}")
        at_start = self.start["anon_kb"]
        print(f"   anonymous memory, KiB: {at_start:.0f} at the start, {first:.0f} after the first part, {last:.0f} at the end")
        levels = {level: sum(f" {level} " in line for line in lines) for level in ("ERROR", "WARN")}
        print(f"   log: {len(lines)} lines, {levels['ERROR']} errors, {levels['WARN']} warnings; CSV: {self.work / 'soak.csv'}")
        print("== passed" if not self.failures else f"== FAILED: {len(self.failures)} checks")


def stop_on_signals() -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="length of the load, at least 2 (default: 60)")
    parser.add_argument("--binary", type=Path, help="what to run (default: the release build)")
    parser.add_argument("--cores", type=float, default=0.33, help="processor time of daemon and clients together (default: 0.33)")
    parser.add_argument("--dir", type=Path, help="where state, log and CSV go (default: a new directory)")
    args = parser.parse_args()
    target = Path(os.environ.get("CARGO_TARGET_DIR") or Path(__file__).resolve().parent.parent / "target")
    binary = (args.binary or target / "release" / "domoflux").resolve()
    if not 2 <= args.minutes <= 7 * 24 * 60 or not binary.is_file():
        parser.error(f"between 2 minutes and a week are possible, and {binary} has to be there")
    work = args.dir or Path(tempfile.mkdtemp(prefix="domoflux-soak-"))
    work.mkdir(parents=True, exist_ok=True)
    if (work / "state").exists():
        parser.error(f"{work} has the state of another run")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    stop_on_signals()
    soak = Soak(binary, args.minutes, args.cores, work)
    try:
        asyncio.run(asyncio.wait_for(soak.run(), args.minutes * 60 + 1200))
    except KeyboardInterrupt:
        print("== broken off", file=sys.stderr)
        return 130
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
