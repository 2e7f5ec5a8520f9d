"""An error as data: what an actor says of it to a caller, or to its agent before it ends."""

from __future__ import annotations

import dataclasses
import signal
import traceback
from typing import Any

_LIMIT = 20_000  # characters of a message or a traceback; of a longer one, both ends are kept


@dataclasses.dataclass(frozen=True)
class Failure:
    """`where` names actor, incarnation, pid and host; `executed` is no, maybe or yes."""

    type_name: str
    message: str
    traceback: str
    where: str = ""
    executed: str = "yes"

    @classmethod
    def of(cls, error: BaseException, where: str = "", executed: str = "yes") -> Failure:
        return cls(
            type(error).__name__,
            _plain(_text_of(error)),
            _plain("".join(traceback.format_exception(error))),
            where,
            executed,
        )

    def to_body(self) -> dict[str, str]:
        return dataclasses.asdict(self)

    @classmethod
    def from_body(cls, body: Any) -> Failure:
        """What a peer sent, taken with care."""
        known = body if isinstance(body, dict) else {}
        texts = {f.name: str(known.get(f.name, "?")) for f in dataclasses.fields(cls)}
        if texts["executed"] not in ("no", "yes"):
            texts["executed"] = "maybe"
        return cls(**texts)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:  # the user's own __str__
        return f"(its text cannot be shown: {type(another).__name__})"


def _plain(text: str) -> str:
    """Text that can travel: of bounded length, without lone surrogates."""
    if len(text) > _LIMIT:
        text = f"{text[: _LIMIT // 2]}\n ... \n{text[-_LIMIT // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode()


def exit_code_text(code: int | None) -> str:
    """How a process ended, from its exit code (negative: the signal that killed it)."""
    if code is None:
        return "unknown cause"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"killed by signal {-code}"
