"""An environment that failed is made anew, unless it fails again and again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from actorrl.errors import EnvironmentFailure

MAX_FAILURES_IN_A_ROW = 3  # of one environment, without a step that went well between them

First = TypeVar("First")


class Recreating:
    """Base of vectors that have `envs`."""

    envs: list[Any]

    def __init__(self, num_envs: int, recreate_failed: bool) -> None:
        self._recreate_failed = recreate_failed
        self._failures_in_a_row = [0] * num_envs
        self.num_recreated = 0
        self.last_failure = ""  # for which one was made anew
        self.on_made_anew: Callable[[int], None] = lambda i: None

    def _went_well(self, i: int) -> None:
        self._failures_in_a_row[i] = 0

    def _in_place_of(
        self, i: int, failure: EnvironmentFailure, successor: Callable[[], First]
    ) -> First:
        """What `successor` returns once it does not fail. Raises the failure unless that is wanted
        and helps."""
        while True:
            self._failures_in_a_row[i] += 1
            if not self._recreate_failed or self._failures_in_a_row[i] > MAX_FAILURES_IN_A_ROW:
                raise failure
            self.num_recreated += 1
            self.last_failure = str(failure)
            with contextlib.suppress(Exception):  # it is broken: closing it may fail as well
                self.envs[i].close()
            try:
                return successor()
            except EnvironmentFailure as another:
                failure = another
