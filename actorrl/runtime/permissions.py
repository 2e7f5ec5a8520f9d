"""Who may say what to an actor from another host: what the Program's links say, and nothing else.

Calls are for the driver, and for those actors that were given a reference when they were made.
"""

from __future__ import annotations

import collections
import io
from collections.abc import Iterable, Mapping
from typing import Any

import cloudpickle

from actorrl.errors import ProgramError
from actorrl.runtime.program import Link, LinkKind, Program, Report, Request, Stream
from actorrl.runtime.refs import DRIVER, ActorRef
from actorrl.wire.messages import Kind
from actorrl.wire.outside import Allow

_KINDS: dict[type[LinkKind], Kind] = {
    Stream: Kind.ITEM,
    Request: Kind.REQUEST,
    Report: Kind.REPORT,
}
_CALLS = (Kind.CALL, Kind.TELL)


def is_dialled(kind: LinkKind) -> bool:
    """Whether its ends talk to each other, as those of states do not."""
    return type(kind) in _KINDS


def callers_in(blobs: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Actor -> who may call it, from whom each actor knows."""
    callers: dict[str, set[str]] = collections.defaultdict(set)
    for name, known in blobs.items():
        for other in known:
            callers[other].add(name)
    return {name: sorted(names) for name, names in callers.items()}


def callers_of(program: Program) -> dict[str, list[str]]:
    """The same, found by pickling every actor's arguments. Raises ProgramError."""
    return callers_in({name: blob(program, name)[1] for name in program.nodes})


def starters(name: str, links: Mapping[str, Link], callers: Iterable[str]) -> frozenset[str]:
    """Who may start something with `name`: calls, elements, requests."""
    sources = {
        source
        for link in links.values()
        if name in link.targets and type(link.kind) in _KINDS
        for source in link.sources
    }
    return frozenset({DRIVER, *callers, *sources} - {name})


def started_with(name: str, links: Mapping[str, Link]) -> frozenset[str]:
    """With whom `name` may start something over a link."""
    return frozenset(
        target
        for link in links.values()
        if name in link.sources and type(link.kind) in _KINDS
        for target in link.targets
    )


def listeners(links: Mapping[str, Link], callers: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Who has to be dialled from other hosts, of which each costs a port: the driver, the end of
    each link that is fewer (of two that are as many the target), and who is called by somebody
    beside these. Everybody else visits them. `callers`: actor -> who may call it."""
    found = {DRIVER}
    for link in links.values():
        if type(link.kind) in _KINDS:
            found.update(link.targets if len(link.targets) <= len(link.sources) else link.sources)
    found.update(name for name, known in callers.items() if not found.issuperset(known))
    return frozenset(found)


def allowed(name: str, links: Mapping[str, Link], callers: Iterable[str]) -> Allow:
    """What `name` takes in from other hosts."""
    over_links = {
        (source, _KINDS[type(link.kind)], link.name)
        for link in links.values()
        if name in link.targets and type(link.kind) in _KINDS
        for source in link.sources
    }
    may_call = {DRIVER, *callers} - {name}

    def allow(source: str, kind: Kind, what: str) -> bool:
        return (kind in _CALLS and source in may_call) or (source, kind, what) in over_links

    return allow


class _Finder(cloudpickle.Pickler):
    """Pickles as cloudpickle does, and notes the references that it comes across."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.found: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, ActorRef):
            self.found.add(obj.name)
        return super().reducer_override(obj)


def pickled(value: Any) -> tuple[bytes, set[str]]:
    """The bytes, and the names of the actors that `value` refers to."""
    file = io.BytesIO()
    finder = _Finder(file)
    finder.dump(value)
    return file.getvalue(), finder.found


def blob(program: Program, name: str) -> tuple[bytes, set[str]]:
    """What makes the actor, for its process alone to open; and whom it can call. Raises
    ProgramError."""
    node = program.nodes[name]
    try:
        return pickled((node.cls, node.args, node.kwargs, program.links))
    except Exception as error:
        raise ProgramError(
            f"{name}: {node.cls.__name__} and its arguments cannot be sent to a process of their"
            f" own: {error}; make in on_start what belongs to one process"
        ) from error
