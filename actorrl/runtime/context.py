"""What an actor knows of its place: its name, its links, its timers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actorrl.runtime.credit_links import RequestOut, StreamOut
from actorrl.runtime.links import ReportOut, StateIn, StateOut

if TYPE_CHECKING:
    from actorrl.runtime.mailbox import Mailbox


class Context:
    """An actor's `self.context`, from `on_start` on. `inline` says that all actors share one
    thread: then no actor may start threads of its own or wait."""

    def __init__(
        self,
        mailbox: Mailbox,
        name: str,
        incarnation: int,
        host: str,
        inline: bool,
        gpus: list[str],
        directory: str,
    ) -> None:
        self._mailbox = mailbox
        self.name = name
        self.role, _, index = name.partition("/")
        self.index = int(index)
        self.incarnation = incarnation
        self.host = host
        self.inline = inline
        self.gpus = gpus
        self.directory = Path(directory)  # of the run on this host, for this user alone; it goes
        # with the run. Inline there is none.

    def stream(self, link: str) -> StreamOut:
        return self._out(link, StreamOut)

    def requests(self, link: str) -> RequestOut:
        return self._out(link, RequestOut)

    def publisher(self, link: str) -> StateOut:
        return self._out(link, StateOut)

    def report(self, link: str) -> ReportOut:
        return self._out(link, ReportOut)

    def state(self, link: str) -> StateIn:
        return self._mailbox.states[link]

    def has_link(self, link: str) -> bool:
        return link in self._mailbox.outs or link in self._mailbox.states

    def _out(self, link: str, cls: type) -> Any:
        out = self._mailbox.outs.get(link)
        assert isinstance(out, cls), f"{self.name} has no outgoing {cls.__name__} {link!r}"
        return out

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` on the main thread about every `seconds`, between messages."""
        self._mailbox.schedule(seconds, action)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """The same once, in about so many seconds."""
        self._mailbox.schedule(seconds, action, once=True)

    def beat(self) -> None:
        """Say that a long computation on the main thread goes on: an actor that neither ends a
        round of its main loop nor says this counts as hung after its `progress_limit_s`."""
        self._mailbox.beat()

    def post(self, action: Callable[[], None]) -> None:
        """Run `action` on the main thread soon. The only method that other threads may call."""
        self._mailbox.post(action)

    def note(self, *values: int) -> None:
        """Leave up to 8 numbers for whoever takes this slot after us, however we end."""
        self._mailbox.ledger.note(values)

    def notes_of_predecessor(self, count: int) -> list[int] | None:
        """The first `count` numbers that the incarnation before us left; None if it left none."""
        return self._mailbox.ledger.notes_of_predecessor(count)

    def event(self, event: str, **details: Any) -> None:
        """Have the run's events.jsonl keep this; numbers, text and lists of them."""
        self._mailbox.on_event(event, details)

    @property
    def waits(self) -> dict[str, float]:
        """Seconds since the start that this actor spent waiting: for `credit`, `state`, `input`."""
        return dict(self._mailbox.waits)

    @property
    def drops(self) -> dict[str, int]:
        """What came in and was not delivered, or was dropped on its way out, by reason. All actors'
        counts are in the result rows, at `info/drops/ROLE`."""
        return dict(self._mailbox.door.drops)
