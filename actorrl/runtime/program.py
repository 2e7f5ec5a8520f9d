"""A Program: actors and the links between them, as a value.

`add` returns a reference; passing it to another actor's constructor is how they know each other;
`link` declares what flows between them, who waits, who drops, and how much is in flight. Nothing
runs while a Program is built, so it can be printed, checked, placed and tested.

    >>> from actorrl.runtime.actor import Actor, remote
    >>> class Counter(Actor):
    ...     def __init__(self, start=0): self.total = start
    ...     @remote
    ...     def add(self, amount):
    ...         self.total += amount
    ...         return self.total
    >>> program = Program("count")
    >>> counter = program.add("counter", Counter, start=3)
    >>> print(program)
    Program count
      counter/0            Counter
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Collection, Sequence
from typing import Any

from actorrl.errors import ProgramError
from actorrl.runtime.actor import Actor
from actorrl.runtime.refs import DRIVER, ActorRef, GroupRef, names_of

PROGRESS_LIMIT_S = 600.0
"""An actor that finishes no round of its main loop for so long hangs, unless it says `beat()`."""


class Restart(enum.Enum):
    """OTP's words: when an actor that ended is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # unless it ended with exit code 0
    TEMPORARY = "temporary"  # never


@dataclasses.dataclass(frozen=True)
class Stream:
    """Experience flowing one way. The consumer's credit bounds what is in flight, per pair.

    full="wait": the producer's `step` is not called while no target has credit.
    full="drop_oldest": the producer keeps at most `credit` elements itself and drops the oldest,
    which is counted.
    """

    credit: int = 2
    full: str = "wait"

    def __post_init__(self) -> None:
        if self.full not in ("wait", "drop_oldest"):
            raise ProgramError(f"full is {self.full!r}, it must be 'wait' or 'drop_oldest'")

    def __str__(self) -> str:
        return f"stream(credit={self.credit}, full={self.full})"


@dataclasses.dataclass(frozen=True)
class Request:
    """Asked and answered: synchronous sampling, replay. At most `in_flight` open per pair."""

    in_flight: int = 1

    def __str__(self) -> str:
        return f"request(in_flight={self.in_flight})"


@dataclasses.dataclass(frozen=True)
class State:
    """The newest version of something (weights): never queued, never half-written."""

    def __str__(self) -> str:
        return "state(newest)"


@dataclasses.dataclass(frozen=True)
class Report:
    """Metrics: sent if there is room, else dropped and counted."""

    def __str__(self) -> str:
        return "report(lossy, counted)"


LinkKind = Stream | Request | State | Report


@dataclasses.dataclass(frozen=True)
class Link:
    name: str
    kind: LinkKind
    sources: tuple[str, ...]
    targets: tuple[str, ...]


@dataclasses.dataclass
class Node:
    """One actor of a Program: its slot, its class and arguments, what it needs."""

    name: str
    role: str
    index: int
    cls: type[Actor]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    restart: Restart
    cpu: float  # cores; steers where it goes
    gpu: float  # whole GPUs, or a part of one
    mem: int  # bytes
    progress_limit_s: float
    because: str = ""  # how `mem` was estimated; empty: it was said

    @property
    def memory_limit(self) -> int:
        """Bytes that were said for it; 0: none, or an estimate, which ends nobody."""
        return 0 if self.because else self.mem


class Program:
    """See the module. `preload` names modules that are imported once, before actors are forked."""

    def __init__(self, name: str, preload: tuple[str, ...] = ()) -> None:
        self.name = name
        self.preload = preload
        self.nodes: dict[str, Node] = {}
        self.links: dict[str, Link] = {}
        self.refs: dict[str, ActorRef] = {}
        self.together: set[str] = set()  # roles whose actors share a host

    def add(
        self,
        role: str,
        cls: type[Actor],
        *args: Any,
        restart: Restart = Restart.PERMANENT,
        cpu: float = 1.0,
        gpu: float = 0.0,
        mem: int = 0,
        progress_limit_s: float = PROGRESS_LIMIT_S,
        **kwargs: Any,
    ) -> ActorRef:
        """One more actor of `role`. It asks its host for `cpu` cores, `gpu` GPUs (whole ones or a
        part of one) and `mem` bytes. If it takes more, or makes no progress for
        `progress_limit_s`, it is killed and started again. The rest goes to its constructor, in its
        own process."""
        if not (isinstance(cls, type) and issubclass(cls, Actor)):
            raise ProgramError(f"{cls!r} cannot be added: it is not a subclass of Actor")
        if not role.isidentifier() or role == DRIVER:
            raise ProgramError(f"{role!r} is no role name: letters, digits and _ only")
        index = sum(node.role == role for node in self.nodes.values())
        name = f"{role}/{index}"
        self.nodes[name] = Node(
            name, role, index, cls, args, kwargs, restart, cpu, gpu, mem, progress_limit_s
        )
        self.refs[name] = ActorRef(name, cls)
        return self.refs[name]

    def add_group(
        self, role: str, cls: type[Actor], *args: Any, count: int, **kwargs: Any
    ) -> GroupRef:
        """`count` actors of one role with the same arguments; each learns its index from its
        context."""
        return GroupRef(role, [self.add(role, cls, *args, **kwargs) for _ in range(count)])

    def limit_progress(self, seconds: float) -> None:
        """The same limit for all actors that have been added."""
        for node in self.nodes.values():
            node.progress_limit_s = seconds

    def require(
        self,
        role: str,
        *,
        cpu: float | None = None,
        gpu: float | None = None,
        mem: int | None = None,
        because: str = "",
    ) -> None:
        """Change what each actor of a role asks of its host; None leaves it as it is. `because`:
        `mem` is an estimate and how it was made, said where no host has so much."""
        for node in self.nodes.values():
            if node.role == role:
                node.cpu = node.cpu if cpu is None else cpu
                node.gpu = node.gpu if gpu is None else gpu
                if mem is not None:
                    node.mem, node.because = mem, because

    def link(
        self,
        name: str,
        kind: LinkKind,
        source: ActorRef | GroupRef | str,
        target: ActorRef | GroupRef | str,
    ) -> Link:
        """Declare what flows from `source` to `target`. For a request link the source asks."""
        if name in self.links:
            raise ProgramError(f"two links are called {name!r}")
        link = Link(name, kind, tuple(names_of(source)), tuple(names_of(target)))
        self._check(link)
        self.links[name] = link
        return link

    def in_flight_at_most(self, slots: Collection[str]) -> int:
        """Elements of streams that may be on their way from or to these actors: their credit."""
        return sum(
            link.kind.credit
            for link in self.links.values()
            if isinstance(link.kind, Stream)
            for source, target in itertools.product(link.sources, link.targets)
            if source in slots or target in slots
        )

    def _check(self, link: Link) -> None:
        if not link.name.isidentifier():
            raise ProgramError(f"{link.name!r} is no link name: letters, digits and _ only")
        for end in (*link.sources, *link.targets):
            if end != DRIVER and end not in self.nodes:
                raise ProgramError(f"link {link.name!r} names {end!r}, which is no actor here")
        bound = getattr(link.kind, "credit", getattr(link.kind, "in_flight", 1))
        if bound < 1:
            raise ProgramError(f"link {link.name!r}: {link.kind} lets nothing through")
        if problem := _wrong_ends(link):
            raise ProgramError(f"link {link.name!r}: {problem}")
        self._check_handlers(link)

    def _check_handlers(self, link: Link) -> None:
        prefix = "serve_" if isinstance(link.kind, Request) else "on_"
        needy = [] if isinstance(link.kind, State) else list(link.targets)
        if isinstance(link.kind, Request):
            self._check_handler(link, link.sources, "on_")
        self._check_handler(link, needy, prefix)

    def _check_handler(self, link: Link, ends: Sequence[str], prefix: str) -> None:
        for end in ends:
            if end != DRIVER and not hasattr(self.nodes[end].cls, prefix + link.name):
                cls = self.nodes[end].cls.__name__
                raise ProgramError(f"link {link.name!r}: {cls} has no method {prefix}{link.name}")

    def __str__(self) -> str:
        """Within 80 columns, where names are of ordinary length."""
        lines = [f"Program {self.name}"]
        alike = itertools.groupby(self.nodes.values(), key=_description)
        for description, nodes in alike:
            names = tuple(node.name for node in nodes)
            lines.append(f"  {_range(names):<20} {description}")
        for link in self.links.values():
            ends = f"{_range(link.sources)} -> {_range(link.targets)}"
            lines.append(f"  {link.name:<10} {ends:<30} {link.kind}")
        return "\n".join(lines)


def _description(node: Node) -> str:
    gpu = f"  gpu={node.gpu:g}" if node.gpu else ""
    return node.cls.__name__ + gpu


def _wrong_ends(link: Link) -> str | None:
    """What is wrong with who is at the ends; None if nothing is."""
    kind = type(link.kind).__name__.lower()
    if not link.sources or not link.targets:
        return "nobody is at one of its ends"
    if DRIVER in link.sources:
        return f"the driver is not the source of a {kind}: it calls, or tells"
    if DRIVER in link.targets and isinstance(link.kind, (Stream, Request)):
        return f"the driver takes no {kind}; it takes reports and states"
    if isinstance(link.kind, State) and len(link.sources) > 1:
        return "a state has one writer"
    if isinstance(link.kind, Report) and len(link.targets) > 1:
        return "a report has one reader"
    return None


def _range(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{names[0]}..{names[-1].rpartition('/')[2]}"
