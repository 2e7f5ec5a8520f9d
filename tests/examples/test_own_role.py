"""A user's own roles and Program train CartPole, in one file of less than 80 lines."""

from __future__ import annotations

import inspect

from actorrl.examples import own_role


def test_own_roles_train_cartpole() -> None:
    assert own_role.train(until=475.0) >= 475.0


def test_the_file_has_less_than_80_lines() -> None:
    assert len(inspect.getsource(own_role).splitlines()) < 80
