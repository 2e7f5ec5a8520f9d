"""What a soak tells: a line per fault while it goes on, a table at the end."""

from __future__ import annotations

import collections
import dataclasses
import os
import statistics
import sys
import time

SOLVED = 475.0  # CartPole-v1
MIN_SHARE = 0.6  # of the updates without faults
LONG = 300  # faults, from which on learning and rate are judged: with pauses between them
_MAY_GROW = 0.05  # per 100 faults, of one process's memory
_FEW_BYTES = 24 << 20
_LONG_TEXT = 600
_FIRST = 4  # samples of a process that is still filling its caches

Load = tuple[int, int, int]  # descriptors, threads, sockets


@dataclasses.dataclass
class Report:
    """See the module."""

    seed: int
    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    seconds: dict[str, list[float]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(list)
    )
    broken: list[str] = dataclasses.field(default_factory=list)
    resumes: int = 0
    calm_rates: list[float] = dataclasses.field(default_factory=list)  # updates per second
    rate: float = 0.0  # net of those that faults have undone
    best_mean: float = float("nan")
    greedy: float = float("nan")
    stop_s: float = float("nan")
    seconds_in_all: float = 0.0
    memory: dict[tuple[str, int], list[int]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(list)
    )
    loads: list[Load] = dataclasses.field(default_factory=list)
    _begun: float = dataclasses.field(default_factory=time.monotonic)

    def note(self, kind: str, seconds: float) -> None:
        self.counts[kind] += 1
        self.seconds[kind].append(seconds)
        self._say(f"{sum(self.counts.values()):4d} {kind}: {seconds:.1f} s")

    def break_(self, where: str, text: str) -> None:
        if len(text) > _LONG_TEXT:  # what the run said comes last
            text = f"{text[: _LONG_TEXT // 2]} ... {text[-_LONG_TEXT // 2 :]}"
        self.broken.append(f"{where}: {' / '.join(text.split(chr(10)))}")
        self._say(f"     BROKEN {where}: {text}")

    def _say(self, line: str) -> None:
        now = time.monotonic() - self._begun
        print(f"{now:7.1f} s, load {os.getloadavg()[0]:4.1f} {line}", file=sys.stderr, flush=True)

    def sample(self, memory: dict[str, tuple[int, int]], load: Load) -> None:
        for name, (pid, nbytes) in memory.items():
            self.memory[name, pid].append(nbytes)
        self.loads.append(load)

    # ---- judging ------------------------------------------------------------------------

    @property
    def share(self) -> float:
        """Of the updates without faults."""
        return self.rate / statistics.mean(self.calm_rates) if self.calm_rates else float("nan")

    def good_enough(self, faults: int) -> bool:
        """A short soak is too short to be judged by its speed or its learning."""
        return faults < LONG or (self.share >= MIN_SHARE and self.is_solved and not self.growing())

    @property
    def is_solved(self) -> bool:
        """Exploring, over 100 episodes, at some time, or greedily at the end."""
        return self.best_mean >= SOLVED or self.greedy >= SOLVED

    def growing(self) -> list[str]:
        """Processes whose memory rises from fault to fault."""
        found = []
        for (name, pid), samples in self.memory.items():
            settled = samples[_FIRST:]
            if len(settled) < 2 * _FIRST:
                continue
            first = statistics.median(settled[:_FIRST])
            last = statistics.median(settled[-_FIRST:])
            allowed = first * _MAY_GROW * max(1.0, len(settled) / 100) + _FEW_BYTES
            if last - first > allowed:
                found.append(f"{name} ({pid}): {_mib(first)} to {_mib(last)} in {len(settled)}")
        return found

    # ---- the table ----------------------------------------------------------------------

    def lines(self) -> list[str]:
        faults = sum(self.counts.values())
        out = [f"Soak: seed {self.seed}, {faults} faults in {self.seconds_in_all:.0f} s", ""]
        out += ["| fault | times | seconds until it learns again, median | worst |"]
        out += ["|---|---|---|---|"]
        for kind, count in sorted(self.counts.items()):
            seconds = sorted(self.seconds[kind])
            middle = statistics.median(seconds)
            until = " (until nothing of it is left)" if kind == "kill driver" else ""
            out.append(f"| {kind}{until} | {count} | {middle:.1f} | {seconds[-1]:.1f} |")
        calm = ", ".join(f"{rate:.0f}" for rate in self.calm_rates)
        out += ["", f"- invariants broken: {len(self.broken)}"]
        out += [f"  - {text}" for text in self.broken]
        out += [
            f"- runs resumed after the driver's death: {self.resumes}",
            f"- updates per second, less those undone: {self.rate:.0f}; without faults {calm}"
            f" (before, after): {self.share:.0%}",
            f"- CartPole-v1: best mean of 100 episodes {self.best_mean:.0f}, greedy at the end"
            f" {self.greedy:.0f}",
            *self._memory_lines(),
            *self._load_lines(),
            f"- stopped by Ctrl-C at the end in {self.stop_s:.1f} s, checkpoint included",
        ]
        return out

    def _memory_lines(self) -> list[str]:
        by_role: dict[str, list[int]] = collections.defaultdict(list)
        for (name, _), samples in self.memory.items():
            by_role[name.partition("/")[0]] += samples
        each = ", ".join(
            f"{role} {_mib(statistics.median(samples))} ({_mib(max(samples))})"
            for role, samples in by_role.items()
        )
        growing = "; ".join(self.growing()) or "none"
        return [f"- memory, median (most): {each}", f"- processes that grow: {growing}"]

    def _load_lines(self) -> list[str]:
        if not self.loads:
            return []
        ranges = [f"{min(values)} to {max(values)}" for values in zip(*self.loads, strict=True)]
        return [f"- driver: descriptors {ranges[0]}, threads {ranges[1]}, sockets {ranges[2]}"]


def _mib(nbytes: float) -> str:
    return f"{nbytes / 2**20:.0f} MiB"
