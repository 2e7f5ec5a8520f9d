"""Ctrl-C and SIGTERM of the command line, and the end of who reads what it prints. Nothing else in
actorrl installs signal handlers.

    once           finish: the loop ends, a checkpoint is written, exit 130 (SIGTERM: 143)
    twice          kill every process of the run, and leave
    three times    leave at once, naming what may remain

Before training begins there is nothing to save, so that the first signal raises `Interrupted` where
the program stands. While it trains, the loop looks at `requested` after each iteration; where an
iteration takes longer than PATIENCE_S, `Interrupted` is raised inside it. The last checkpoint is
not broken off by a first signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn

from actorrl.cli.failures import print_to_nobody
from actorrl.errors import EXIT_INTERRUPTED, EXIT_STRAYS, EXIT_TERMINATED
from actorrl.runtime import strays

PATIENCE_S = 3.0  # for the iteration in progress; the rest of grace_s is the checkpoint's
KILL_WAIT_S = 5.0


class Interrupted(KeyboardInterrupt):
    """The user wants to end. Not an Exception, so that no `except Exception` swallows it."""


@contextlib.contextmanager
def read_by_somebody() -> Iterator[None]:
    """Once nobody reads what is printed (`actorrl launch ... | head`), a run ends as by Ctrl-C."""
    try:
        yield
    except BrokenPipeError:
        print_to_nobody()
        raise Interrupted from None


class Interrupts:
    """Context manager that holds the handlers while a command trains.

    `run_id` is set as soon as it is known: it says which processes the second signal kills.
    """

    def __init__(self) -> None:
        self.requested: int | None = None  # the first signal
        self.run_id: str | None = None
        self._count = 0
        self._training = False
        self._ending = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        self._hold()
        return self

    def _hold(self) -> None:
        """Have the signals. An environment that was made in this process may have taken them."""
        for number, handler in (
            (signal.SIGINT, self._on_signal),
            (signal.SIGTERM, self._on_signal),
            (signal.SIGALRM, self._on_alarm),
        ):
            if signal.getsignal(number) != handler:
                previous = signal.signal(number, handler)
                self._previous.setdefault(number, previous)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        return EXIT_TERMINATED if self.requested == signal.SIGTERM else EXIT_INTERRUPTED

    def call(self, work: Callable[[], Any]) -> Any:
        """Run one iteration; a first signal lets it end within PATIENCE_S, then raises."""
        if self.requested is not None:
            raise Interrupted
        if self._previous:  # entered
            self._hold()
        self._training = True
        try:
            return work()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._training = False

    def end(self) -> None:
        """From now on the run ends by itself: a first signal breaks nothing off any more."""
        self._ending = True

    # ---- handlers: on the main thread, between two bytecodes -------------------------------------

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1:
            self._finish(number)
        elif self._count == 2:
            self._kill()
        else:
            self._leave()

    def _finish(self, number: int) -> None:
        self.requested = number
        if self._ending:
            _say("it is ending already, with a checkpoint (again: kill, a third time: leave)")
            return
        _say("stopping, with a checkpoint (again: kill, a third time: leave at once)")
        if not self._training:
            raise Interrupted
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._training:
            raise Interrupted

    def _kill(self) -> NoReturn:
        """Kill the actors, and leave: the agent, this process's own child, sees that and ends what
        was restarted meanwhile, then removes the run's sockets."""
        _say("killing the processes of this run")
        if self.run_id is not None and strays.kill_others(self.run_id, KILL_WAIT_S):
            self._leave()
        _exit(self.exit_code)

    def _leave(self) -> NoReturn:
        left = strays.of_run(self.run_id) if self.run_id is not None else []
        if left:
            _say(f"leaving; these processes of the run may remain: {', '.join(map(str, left))}")
        _exit(EXIT_STRAYS if left else self.exit_code)


def _say(text: str) -> None:
    """Not print: the signal may have come in the middle of one, on the same buffer. Who reads it
    may be gone: of `actorrl launch ... 2>&1 | tee FILE` the same Ctrl-C ends both."""
    with contextlib.suppress(OSError):
        os.write(2, f"\nactorrl: {text}\n".encode())


def _exit(code: int) -> NoReturn:
    """At once. The live table, which would have done so at its end, has hidden the cursor."""
    with contextlib.suppress(OSError):
        if os.isatty(1):
            os.write(1, b"\033[?25h")
    os._exit(code)
