"""The names of all columns, and the axes that lead each of them.

Letters: T rows of a fragment (time), B environments, N flat rows, K final observations,
k frames in a stack. The names are RLlib's where RLlib has one.

Row t of environment b is one decision: `obs[t]`, `actions[t]`, then `rewards[t]`,
`terminateds[t]`, `truncateds[t]`. `valid[t, b]` is False where row t is no decision at all: under
NEXT_STEP autoreset, the row after an end. There `obs[t]` is the final observation, the action was
ignored, the reward is 0, and `obs[t + 1]` is the next episode's first observation (`age` 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import numpy as np

from actorrl import copies

DEFAULT_POLICY = "default_policy"

OBS = "obs"
NEXT_OBS = "new_obs"
ACTIONS = "actions"
REWARDS = "rewards"
TERMINATEDS = "terminateds"
TRUNCATEDS = "truncateds"
VALID = "valid"
AGE = "age"
ACTION_LOGP = "action_logp"
ACTION_DIST_INPUTS = "action_dist_inputs"
VF_PREDS = "vf_preds"
Q_VALUES = "q_values"
NEXT_Q_VALUES = "new_q_values"
FINAL_Q_VALUES = "final_q_values"
DISCOUNTS = "discounts"
WEIGHTS = "weights"
INDICES = "batch_indexes"
PRIORITIES = "priorities"
ADVANTAGES = "advantages"
VALUE_TARGETS = "value_targets"
EPS_ID = "eps_id"
ENV_ID = "env_id"
FRAMES = "frames"
OBS_FRAMES = "obs_frames"
NEXT_OBS_FRAMES = "new_obs_frames"
FINAL_OBS = "final_obs"
FINAL_ROWS = "final_rows"
SEQ_LENS = "seq_lens"
DONES = "dones"
INFOS = "infos"
T = "t"
AGENT_INDEX = "agent_index"
WEIGHTS_VERSION = "weights_version"

_STATE_IN = "state_in_"

copies.count(OBS, NEXT_OBS, FRAMES, FINAL_OBS)


def state_in(i: int) -> str:
    """Name of part `i` of the recurrent state at row 0 of a fragment, a [B, ...] column."""
    return f"{_STATE_IN}{i}"


def is_state_in(name: str) -> bool:
    return name.startswith(_STATE_IN)


class Axes(Enum):
    """The leading axes of a column."""

    TB = "[T, B]"
    T1B = "[T+1, B]"
    FTB = "[k-1+T+1, B]"
    B = "[B]"
    N = "[N]"


LAYOUT: dict[str, Axes] = {
    # A fragment's own columns, written by the collector.
    OBS: Axes.T1B,  # observations, with the one after the last row
    AGE: Axes.T1B,  # int32, decisions since the episode's first observation; 0 = that observation
    FRAMES: Axes.FTB,  # uint8 single frames, k-1 lead-in frames first; takes the place of OBS
    ACTIONS: Axes.TB,  # as the policy chose them, before any scaling
    REWARDS: Axes.TB,  # float32, unclipped
    TERMINATEDS: Axes.TB,  # bool
    TRUNCATEDS: Axes.TB,  # bool, never True where terminated is
    VALID: Axes.TB,  # bool
    FINAL_OBS: Axes.N,  # SAME_STEP only: [K, ...] last observations of the episodes that ended
    FINAL_ROWS: Axes.N,  # SAME_STEP only: [K] int64, the row t * B + b that each belongs to
    # What policies leave beside an action.
    ACTION_LOGP: Axes.TB,
    ACTION_DIST_INPUTS: Axes.TB,
    VF_PREDS: Axes.TB,
    Q_VALUES: Axes.TB,
    FINAL_Q_VALUES: Axes.N,  # [K, A], action values of FINAL_OBS
    # What postprocessing adds.
    ADVANTAGES: Axes.TB,
    VALUE_TARGETS: Axes.TB,
    # Flat rows: n-step transitions, replay samples.
    NEXT_OBS: Axes.N,
    NEXT_Q_VALUES: Axes.N,
    OBS_FRAMES: Axes.N,
    NEXT_OBS_FRAMES: Axes.N,
    DISCOUNTS: Axes.N,
    WEIGHTS: Axes.N,
    INDICES: Axes.N,
    PRIORITIES: Axes.N,
    EPS_ID: Axes.N,
    ENV_ID: Axes.N,
}


def axes_of(name: str) -> Axes:
    """The layout of a column of a fragment; a column that nobody declared is a [T, B] extra."""
    return Axes.B if is_state_in(name) else LAYOUT.get(name, Axes.TB)


def check_rows(columns: Mapping[str, np.ndarray], num_rows: int) -> None:
    """Raise ValueError, naming the column, unless every column has `num_rows` flat rows."""
    for name, array in columns.items():
        if array.ndim < 1 or array.shape[0] != num_rows:
            raise ValueError(f"column '{name}' has shape {array.shape}, expected {num_rows} rows")
