"""RLlib's other ways to ask `compute_single_action`: all in one dict, and in which units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from actorrl.algorithms.config import AlgorithmConfig
from actorrl.config import shown
from actorrl.data import columns as c
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.errors import ConfigError
from actorrl.models.action_layout import Units, action_layout

_UNITS = {
    "normalized": "scaled and clipped to their bounds (normalize_actions)",
    "clipped": "clipped to their bounds (clip_actions)",
    "raw": "as they are learned",
}


def preprocessed(space: Any, observation: Any) -> Any:
    """One observation as policies see it. Raises ConfigError."""
    try:
        return preprocessor_for(space).transform([observation])[0]
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        hint = ""
        if isinstance(observation, tuple) and isinstance(observation[-1], dict):
            hint = ", expected the obs of `obs, info = env.reset()`"
        raise ConfigError(
            f"observation: {shown(observation)} is none of {shown(space)} ({error}){hint}"
        ) from None


class Asked(NamedTuple):
    """What an action is wanted for, without a batch axis."""

    observation: Any
    state: Any = None
    prev_action: Any = None
    prev_reward: Any = None

    def or_of(self, input_dict: Mapping[str, Any] | None) -> Asked:
        """The same under SampleBatch's names, where there is a dict. Raises ConfigError where an
        observation is given in neither way, or anything in both."""
        if input_dict is None:
            if self.observation is None:
                raise ConfigError("observation: missing, expected it or an input_dict that has it")
            return self
        if any(given is not None for given in self):
            raise ConfigError(
                f"input_dict: together with {', '.join(self._fields)}, expected the one or the"
                " others"
            )
        if c.OBS not in input_dict:
            raise ConfigError(f"input_dict: no {c.OBS!r} among {', '.join(input_dict)}")
        parts = sum(c.is_state_in(name) for name in input_dict)
        state = [input_dict[c.state_in(i)] for i in range(parts)] or None
        last = input_dict.get("prev_actions"), input_dict.get("prev_rewards")
        return Asked(input_dict[c.OBS], state, *last)


def check_units(
    config: AlgorithmConfig, policy: Any, unsquash: bool | None, clip: bool | None
) -> None:
    """Actions are told as the environments of the run get them. Raises ConfigError where they are
    wanted otherwise; None: as they are."""
    if unsquash is None and clip is None:
        return
    units = config.action_units()
    unsquashed = units == "normalized" if unsquash is None else unsquash
    clipped = units == "clipped" if clip is None else clip
    wanted: Units = "normalized" if unsquashed else "clipped" if clipped else "raw"
    layout = action_layout(policy.action_space, wanted)
    pairs = zip(layout.affine()[:-1], policy.action_layout.affine()[:-1], strict=True)
    if not all((one == other).all() for one, other in pairs):
        raise ConfigError(
            f"unsquash_action: {unsquash}, clip_action: {clip}: actions come as this run's"
            f" environments get them, {_UNITS[units]}, expected None for both"
        )
