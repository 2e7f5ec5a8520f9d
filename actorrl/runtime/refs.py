"""References: how one actor names another.

A reference names a slot (`rollout/17`), not a process: it stays good when the process behind it is
started again, and may be passed to other actors as an argument.
"""

from __future__ import annotations

import contextvars
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from actorrl.errors import CallError, ProgramError
from actorrl.runtime.actor import lane_of, remote_methods
from actorrl.wire import values

if TYPE_CHECKING:
    from actorrl.runtime.calls import Caller, Future

DEFAULT_TIMEOUT_S = 60.0
NO_LIMIT = math.inf
DRIVER = "driver"

# Who is speaking: the actor whose code runs now. Set by its mailbox; the driver binds its refs.
CURRENT: contextvars.ContextVar[Caller | None] = contextvars.ContextVar("current", default=None)
_process_caller: list[Caller] = []  # of an actor's process: every thread of it speaks as the actor


def set_process_caller(caller: Caller | None) -> None:
    _process_caller[:] = [] if caller is None else [caller]


def beat() -> None:
    """`context.beat` for code that has no context, such as an optimizer's step: say, on the main
    thread of whatever actor runs now, that a long computation goes on. Elsewhere it does nothing.
    """
    caller = CURRENT.get()
    if caller is not None:
        caller.beat()


class ActorRef:
    """The name of an actor. `ref.method.call(...)` gives a Future, `ref.method.tell(...)` nothing.

    Where the class is known a wrong method name is an error at once. A reference that came inside a
    message knows only which methods have the control lane.
    """

    def __init__(
        self, name: str, cls: type | None = None, control: frozenset[str] = frozenset()
    ) -> None:
        self.name = name
        self._cls = cls
        self._control = control if cls is None else _control_methods(cls)
        self._caller: Caller | None = None

    def __getattr__(self, method: str) -> RemoteMethod:
        if method.startswith("_"):
            raise AttributeError(method)
        if self._cls is not None and lane_of(self._cls, method) is None:
            raise AttributeError(
                f"{self._cls.__name__} has no remote method {method!r};"
                f" it has: {', '.join(remote_methods(self._cls)) or 'none'}"
            )
        return RemoteMethod(self, method, DEFAULT_TIMEOUT_S)

    def bind(self, caller: Caller) -> None:
        self._caller = caller

    def caller(self) -> Caller:
        caller = self._caller or CURRENT.get() or (_process_caller[0] if _process_caller else None)
        if caller is None:
            raise CallError(f"{self.name} does not run: start its Program first", executed="no")
        return caller

    def lane(self, method: str) -> str:
        return "control" if method in self._control else "main"

    def to_bytes(self) -> bytes:
        return "\n".join([self.name, *sorted(self._control)]).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ActorRef:
        name, *control = data.decode().split("\n")
        return cls(name, None, frozenset(control))

    def __reduce__(self) -> tuple[Any, ...]:
        return (ActorRef, (self.name, self._cls, self._control))

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


values.register(16, ActorRef, ActorRef.to_bytes, ActorRef.from_bytes)


def _control_methods(cls: type) -> frozenset[str]:
    return frozenset(name for name in remote_methods(cls) if lane_of(cls, name) == "control")


class RemoteMethod:
    """A method of an actor elsewhere."""

    def __init__(self, ref: ActorRef, method: str, timeout_s: float) -> None:
        self._ref = ref
        self._method = method
        self._timeout_s = timeout_s

    def within(self, timeout_s: float) -> RemoteMethod:
        """The same method with another deadline; `NO_LIMIT` for none."""
        if not timeout_s > 0:
            raise ValueError(f"timeout_s is {timeout_s}, it must be above 0")
        return RemoteMethod(self._ref, self._method, timeout_s)

    def call(self, *args: Any, **kwargs: Any) -> Future:
        """Run the method there; `.result()` of the Future waits at most until the deadline."""
        return self._ref.caller().call(
            self._ref.name,
            self._method,
            args,
            kwargs,
            self._timeout_s,
            self._ref.lane(self._method),
        )

    def tell(self, *args: Any, **kwargs: Any) -> None:
        """Run the method there, without an answer. If it raises, the actor there fails."""
        self._ref.caller().tell(
            self._ref.name, self._method, args, kwargs, self._ref.lane(self._method)
        )


class GroupRef:
    """The actors of one role, in order: `group[3]`, `for ref in group`, `len(group)`."""

    def __init__(self, role: str, refs: list[ActorRef]) -> None:
        self.role = role
        self.refs = refs

    def __len__(self) -> int:
        return len(self.refs)

    def __getitem__(self, index: int) -> ActorRef:
        return self.refs[index]

    def __iter__(self) -> Iterator[ActorRef]:
        return iter(self.refs)

    def __repr__(self) -> str:
        return f"<{self.role} x {len(self.refs)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (GroupRef, (self.role, self.refs))


def gather(futures: list[Future]) -> list[Any]:
    """The results of several calls, in their order; the first error is raised once all ended."""
    results, first_error = [], None
    for future in futures:
        try:
            results.append(future.result())
        except CallError as error:
            first_error = first_error or error
    if first_error is not None:
        raise first_error
    return results


def names_of(end: ActorRef | GroupRef | str) -> list[str]:
    """The slots that an end of a link stands for."""
    if isinstance(end, ActorRef):
        return [end.name]
    if isinstance(end, GroupRef):
        return [ref.name for ref in end]
    if end == DRIVER:
        return [DRIVER]
    raise ProgramError(f"{end!r} is no end of a link: pass a reference, a group, or DRIVER")
