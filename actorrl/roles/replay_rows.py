"""From a worker's fragments to rows for replay."""

from __future__ import annotations

from actorrl.data import columns as c
from actorrl.data.fragment import Fragment
from actorrl.policies.base import Policy
from actorrl.roles.settings import Arrays, Body, Postprocess
from actorrl.rollouts.postprocess import NStep


def n_step_rows(
    n_step: int, gamma: float, clip: float | None, policy: Policy, num_envs: int
) -> Postprocess:
    """n-step rows without priorities: the buffer gives a new row the highest one."""
    rows_of = NStep(n_step, gamma, num_envs, clip_rewards=clip)

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        fragment.columns.pop(c.Q_VALUES, None)  # rows need not wait for those of their last step
        rows = rows_of.add(fragment.columns, fragment.led_frames)
        body, _ = fragment.to_message()
        return body, rows

    return postprocess
