"""`algo.get_policy().learn_on_batch(samples)`: one update of the run's learner with a user's rows.

Letters: N flat rows, T rows of the longest piece of an episode and one more, B pieces.

What the learner's update takes is what workers send, so the driver makes just that of the rows:
algorithms with replay learn from single transitions, the others from pieces of episodes side by
side, through the postprocess (or of A3C the gradient) of their workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from actorrl.algorithms import multi_agent
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.taught_rows import taught_rows
from actorrl.data import columns as c
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.fragment import Fragment
from actorrl.data.sample_batch import SampleBatch
from actorrl.envs.check import EnvInfo
from actorrl.errors import ConfigError
from actorrl.policies.base import Policy
from actorrl.policies.policy_map import SEPARATOR, PolicyMap
from actorrl.roles.gradient_worker import GradientWorker
from actorrl.roles.rollout_worker import RolloutWorker
from actorrl.rollouts.complete_episodes import side_by_side
from actorrl.runtime.program import Program

if TYPE_CHECKING:
    from actorrl.algorithms.run import Run

Columns = dict[str, np.ndarray]
_DECISION = (c.OBS, c.ACTIONS, c.REWARDS, c.TERMINATEDS, c.NEXT_OBS)


class Teaching:
    """Of a run, whose `learn_on_batch` is one update of its learner, published at once."""

    def __init__(self, config: AlgorithmConfig, info: EnvInfo, program: Program, run: Run) -> None:
        self._config = config
        self._info = info
        self._run = run
        worker = program.nodes.get("rollout/0")
        self._role = worker.cls if worker is not None else None
        self._make = worker.args[2] if worker is not None and len(worker.args) > 2 else None

    def __call__(self, policy_id: str, newest: Any, samples: Mapping[str, Any]) -> dict[str, Any]:
        """RLlib's form of the metrics. Raises ConfigError for samples that nothing can be learned
        from."""
        stats = self._run.learn_on_batch(self.columns_of(policy_id, newest, samples))
        return {"learner_stats": {k.rpartition(SEPARATOR)[2]: v for k, v in stats.items()}}

    def columns_of(self, policy_id: str, newest: Any, samples: Mapping[str, Any]) -> Columns:
        """What workers would have sent of these rows. `newest`: the Policy, or PolicyMap of
        several, with the learner's weights."""
        policy = newest[policy_id] if isinstance(newest, PolicyMap) else newest
        if self._info.policies is not None and policy_id not in self._learning():
            raise ConfigError(
                f"learn_on_batch: policy {policy_id!r} plays and does not learn in this run, whose"
                f" policies_to_train are {', '.join(self._learning())}"
            )
        batch = taught_rows(policy, samples)
        columns = self._columns(policy_id, newest, policy, batch) if batch.count else {}
        if not columns or not all(len(column) for column in columns.values()):
            raise ConfigError(
                "learn_on_batch: there is nothing to learn from in these samples, expected rows,"
                " and of whole episodes where the algorithm learns from those"
            )
        return columns

    def _columns(self, policy_id: str, newest: Any, policy: Policy, batch: SampleBatch) -> Columns:
        """What goes to the learner."""
        prefix = "" if newest is policy else f"{policy_id}{SEPARATOR}"
        if self._config.gathers == "dataset":
            rows = _needed(batch, (c.OBS, c.ACTIONS))
        elif self._config.gathers == "replay":
            rows = _transitions(self._config_of(policy_id), policy, batch)
        elif self._role in (RolloutWorker, GradientWorker):
            return self._sent(policy_id, newest, policy, batch)
        else:
            raise ConfigError(
                "learn_on_batch: this algorithm learns from returns of whole populations, not from"
                " samples, expected an algorithm that follows gradients of a loss"
            )
        return {f"{prefix}{name}": column for name, column in rows.items()}

    def _learning(self) -> list[str]:
        return multi_agent.learning(self._config, self._info.policies or ())

    def _config_of(self, policy_id: str) -> AlgorithmConfig:
        if self._info.policies is None:
            return self._config
        return multi_agent.config_for(self._config, policy_id)

    def _sent(self, policy_id: str, newest: Any, policy: Policy, batch: SampleBatch) -> Columns:
        """What a worker would have sent that had lived through the rows."""
        columns = lanes_of(policy, batch)
        num_envs = columns[c.VALID].shape[1]
        name = DEFAULT_POLICY if newest is policy else policy_id
        fragment = Fragment(
            {name: columns},
            num_env_steps=batch.count,
            policy_version=policy.version,
            state_out=policy.initial_state(num_envs),  # of the last row, which is no decision
            lanes={name: list(range(num_envs))},
        )
        assert self._make is not None
        if self._role is GradientWorker:
            gradient, _ = self._make(newest, fragment, self._run.reporter.timesteps_total)
            return {"gradient": gradient}
        body, arrays = self._make(newest, num_envs)(fragment)
        return Fragment.from_message(body, arrays).flat_columns()


# ---- single transitions ---------------------------------------------------------------------


def _transitions(config: AlgorithmConfig, policy: Policy, batch: SampleBatch) -> Columns:
    """Each row by itself, in any order, with weight 1. `discounts` [N], where given, are those of
    rewards that were summed over n steps."""
    rows = _needed(batch, _DECISION)
    rewards = rows[c.REWARDS]
    clips = config.clips_rewards(policy.frame_stack)
    discounts = (config.gamma * ~rows[c.TERMINATEDS]).astype(np.float32)
    return {
        c.OBS: rows[c.OBS],
        c.ACTIONS: rows[c.ACTIONS],
        c.REWARDS: rewards.clip(-1.0, 1.0) if clips else rewards,
        c.DISCOUNTS: batch.get(c.DISCOUNTS, discounts),
        c.NEXT_OBS: rows[c.NEXT_OBS],
        c.WEIGHTS: batch.get(c.WEIGHTS, np.ones(len(rewards), np.float32)),
    }


# ---- pieces of episodes ---------------------------------------------------------------------


def lanes_of(policy: Policy, batch: SampleBatch) -> Columns:
    """[T, B] columns of the pieces of episodes in a batch, with what the policy says of each row
    where the batch does not, and of the observation behind each piece."""
    if policy.frame_stack > 1:
        raise ConfigError(
            "learn_on_batch: samples of frame stacks are not accepted by algorithms that learn from"
            " pieces of episodes, expected one with replay"
        )
    rows = _needed(batch, _DECISION)
    rows[c.TRUNCATEDS] = batch.get(c.TRUNCATEDS, np.zeros(batch.count, np.bool_))
    kept = {n: batch[n] for n in batch.row_columns() if c.LAYOUT.get(n) is c.Axes.TB}
    rows = {**kept, **rows}
    cuts = _cuts(batch, rows[c.TERMINATEDS] | rows[c.TRUNCATEDS])
    # Without `t` nobody says that an episode begins: its state is the one that was given.
    ages = batch.get(c.T, np.ones(batch.count, np.int64))
    pieces = [_piece(rows, a, b, int(ages[a])) for a, b in pairwise(cuts)]
    columns = side_by_side(pieces, _first_state(policy, batch, cuts))
    _complete(policy, columns)
    return columns


def _needed(batch: SampleBatch, names: tuple[str, ...]) -> Columns:
    """Columns by name. Raises ConfigError for the first one that is not there."""
    missing = [name for name in names if name not in batch]
    if missing:
        raise ConfigError(
            f"learn_on_batch: samples have no column {missing[0]!r}, expected {', '.join(names)}"
        )
    return {name: batch[name] for name in names}


def _cuts(batch: SampleBatch, ended: np.ndarray) -> list[int]:
    """Where pieces begin, and N: at another episode, environment or agent, a gap in time, and
    behind an end."""
    begins = np.concatenate([[True], ended[:-1]])
    for name in (c.EPS_ID, c.ENV_ID, c.AGENT_INDEX):
        if name in batch:
            begins[1:] |= batch[name][1:] != batch[name][:-1]
    if c.T in batch:
        begins[1:] |= batch[c.T][1:] != batch[c.T][:-1] + 1
    return [*np.flatnonzero(begins).tolist(), batch.count]


def _piece(rows: Columns, start: int, end: int, age: int) -> Columns:
    """One piece, [n+1, ...] each: its rows, and the one behind them."""
    piece = {}
    for name, column in rows.items():
        if name == c.NEXT_OBS:
            continue
        behind = rows[c.NEXT_OBS][end - 1 : end] if name == c.OBS else column[end - 1 : end] * 0
        piece[name] = np.concatenate([column[start:end], behind.astype(column.dtype)])
    piece[c.TRUNCATEDS] &= ~piece[c.TERMINATEDS]
    piece[c.VALID] = np.arange(end - start + 1) < end - start
    piece[c.AGE] = np.arange(age, age + end - start + 1, dtype=np.int32)
    return piece


def _first_state(policy: Policy, batch: SampleBatch, cuts: list[int]) -> tuple[np.ndarray, ...]:
    """Each [B, ...]: the batch's own where it has them, else those of an episode's start."""
    fresh = policy.initial_state(len(cuts) - 1)
    if batch.seq_lens is None or any(c.state_in(i) not in batch for i in range(len(fresh))):
        return fresh
    begins = np.concatenate([[0], np.cumsum(batch.seq_lens)[:-1]])
    piece, sequence = np.nonzero(np.array(cuts[:-1])[:, None] == begins[None])
    for i, part in enumerate(fresh):
        given = batch[c.state_in(i)]
        if given.shape != (len(begins), *part.shape[1:]):
            raise ConfigError(
                f"learn_on_batch: column {c.state_in(i)!r} has shape {given.shape}, expected"
                f" {(len(begins), *part.shape[1:])}, a state for each of `seq_lens`"
            )
        part[piece] = given[sequence]
    return fresh


def _complete(policy: Policy, columns: Columns) -> None:
    """Acts through the pieces once more: what the policy tells beside an action is put where the
    batch has none, and behind each piece (the value there)."""
    num_rows, num_envs = columns[c.VALID].shape
    fresh = policy.initial_state(num_envs)
    state = tuple(columns[c.state_in(i)] for i in range(len(fresh)))
    given = set(columns)
    for t in range(num_rows):
        first = columns[c.AGE][t] == 0
        state = tuple(
            np.where(first.reshape(-1, *[1] * (part.ndim - 1)), start, part)
            for part, start in zip(state, fresh, strict=True)
        )
        obs = columns[c.OBS][t]
        act = policy.act(obs, state, False)
        extras = dict(act.extras)
        if c.ACTION_LOGP in extras and c.ACTION_LOGP not in given:
            actions = columns[c.ACTIONS][t]
            extras[c.ACTION_LOGP] = policy.compute_log_likelihoods(actions, obs, list(state))
        for name, value in extras.items():
            column = columns.setdefault(name, np.zeros((num_rows, *value.shape), value.dtype))
            if column.shape[2:] != value.shape[1:]:
                raise ConfigError(
                    f"learn_on_batch: column {name!r} has rows of shape {column.shape[2:]},"
                    f" expected {value.shape[1:]}"
                )
            keep = columns[c.VALID][t] if name in given else np.zeros(num_envs, np.bool_)
            column[t][~keep] = value[~keep]
        state = act.state
