"""The epochs of a run's learner: each time it goes on from an older state it takes a new number.

The weights' own memory knows the newest epoch as long as the host's agent lives, a checkpoint that
of its time. A learner that dies twice between two checkpoints, with its agent, would find neither:
so the number is kept in the run folder as well.
"""

from __future__ import annotations

import logging
from pathlib import Path

from actorrl.experiment.state_files import write_atomically

_FILE = "epoch"
_log = logging.getLogger(__name__)


def next_epoch(folder: Path, known: int) -> int:
    """Higher than `known` and than all that were taken so before. A disk that refuses to keep it
    costs no recovery."""
    path = folder / _FILE
    try:
        taken = int(path.read_text())
    except (OSError, ValueError):
        taken = 0
    epoch = max(taken, known) + 1
    try:
        write_atomically(path, f"{epoch}\n".encode(), durable=True)
    except OSError as error:
        _log.warning("%s cannot be written (%s)", path, error.strerror)
    return epoch
