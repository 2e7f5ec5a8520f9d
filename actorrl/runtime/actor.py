"""What a user writes: a class with methods that others may call.

An actor lives in a process of its own (or, in-process, in the one loop of the driver). It handles
one message at a time on its main thread: calls of `@remote` methods, elements of its links, and
`step` whenever its outgoing links can take something. Nothing here may wait for a link: the
mailbox calls `step` when the links are ready.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from actorrl.runtime.context import Context

Method = TypeVar("Method", bound=Callable[..., Any])


def remote(method: Method | None = None, *, lane: str = "main", driver_only: bool = False) -> Any:
    """Mark a method as callable by other actors, or by the driver alone.

    `lane="control"` runs it on the actor's control thread, so that it answers while the main loop
    is busy; such a method may only read what the main thread writes in one piece.
    """
    if lane not in ("main", "control"):
        raise ValueError(f"lane is {lane!r}, it must be 'main' or 'control'")

    def mark(function: Method) -> Method:
        function.__actorrl_lane__ = lane  # type: ignore[attr-defined]
        function.__actorrl_driver_only__ = driver_only  # type: ignore[attr-defined]
        return function

    return mark if method is None else mark(method)


def lane_of(cls: type, method: str) -> str | None:
    """The lane of a remote method, None if the class has no remote method of that name."""
    return getattr(getattr(cls, method, None), "__actorrl_lane__", None)


def driver_only(cls: type, method: str) -> bool:
    return bool(getattr(getattr(cls, method, None), "__actorrl_driver_only__", False))


def remote_methods(cls: type) -> list[str]:
    return sorted(name for name in dir(cls) if lane_of(cls, name) is not None)


class Actor:
    """Base of all actors. The constructor stores its arguments; `on_start` acquires resources.

    Optional methods, found by name:
      `step(self)`                  one unit of own work; called while every `stream` going out with
                                    `full="wait"` has credit and every state coming in has a version
      `on_LINK(self, item)`         an element of stream LINK, a response of request link LINK, or a
                                    report, has come in; it is released afterwards, unless
                                    `item.hold()`
      `serve_LINK(self, request)`   a request of LINK is to be answered, now or later
      `lost_LINK(self, target, n)`  `target` went away or is back; n requests to it will not be
                                    answered
      `has_work(self)`              False while `step` has nothing to do (asked before each step;
                                    then when something has come in, and about once a second)
    """

    context: Context  # set before on_start, on the actor's own side

    def on_start(self) -> None:
        """Called once in the actor's process, when its links can be used."""

    def on_stop(self) -> None:
        """Called once at a clean end. Not called when the process is killed."""
