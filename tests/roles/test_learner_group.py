"""Several learners give what one learner gives: sums over real process groups, one thread each."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from actorrl.algorithms import a2c, appo, impala, pg, ppo
from actorrl.data import columns as c
from actorrl.data.fragment import Fragment
from actorrl.envs.vector import make_vector
from actorrl.roles.batch import FragmentBatch, RowBatch
from actorrl.roles.learner_group import GroupLost, LearnerGroup
from actorrl.roles.partners import learn_share
from actorrl.roles.several_policies import SeveralUpdates
from actorrl.roles.shares import by_policy, cut, num_rows, to_arrays, to_tensors
from actorrl.rollouts.collector import Collector
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"
LSTM = {"use_lstm": True, "lstm_cell_size": 8}
FILES: dict[str, tuple[Any, Any, Any]] = {
    "PPO": (ppo, ppo.PPOUpdate, FragmentBatch),
    "A2C": (a2c, a2c.A2CUpdate, FragmentBatch),
    "IMPALA": (impala, impala.IMPALAUpdate, FragmentBatch),
    "APPO": (appo, appo.APPOUpdate, FragmentBatch),
    "PG": (pg, pg.PGUpdate, RowBatch),
}


def in_threads(members: list[Callable[[], Any]]) -> list[Any]:
    """What each returns; the first error is raised."""
    results: list[Any] = [None] * len(members)
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            results[index] = members[index]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(members))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(worlds.PATIENCE_S)
    if errors:
        raise errors[0]
    return results


def met(store: Path, size: int, **more: Any) -> list[LearnerGroup]:
    meet = [functools.partial(LearnerGroup, store, rank, size, **more) for rank in range(size)]
    return in_threads(list(meet))


def batch_of(name: str, config: Any, info: Any, envs: int = 5, rows: int = 9) -> Any:
    """A train batch from a policy with other weights than the learner's, as the learner has it."""
    file, _, make_batch = FILES[name]
    policy = file.make_policy(config, info, 1, np.arange(envs))
    env = make_vector(info.env, {}, envs, seed=3, autoreset=config.autoreset)
    collector, batch = Collector(env, policy, rows), make_batch()
    postprocess = file.make_postprocess(config, False, policy, envs)
    for _ in range(3 if make_batch is RowBatch else 1):
        postprocess(collector.collect())  # so that the next one starts within episodes
        fragment = Fragment.from_message(*postprocess(collector.collect()))
        batch.add(fragment.flat_columns(), fragment.num_env_steps)
    return {key: column.clone() for key, column in batch.tensors().items()}


def learned_alone(make_update: Any, batch: Any, times: int) -> tuple[np.ndarray, Any]:
    update = make_update("cpu")
    for i in range(times):
        metrics = update(dict(batch), 100 * i)
    return update.policy.flat_weights(), metrics


def learned_together(
    make_update: Any, batch: Any, times: int, size: int, store: Path
) -> list[tuple[np.ndarray, Any]]:
    """Weights and metrics of each of `size` learners, who got their shares as over a wire."""
    shares = cut(batch, size)
    assert shares is not None
    counts = [[num_rows(part) for part in by_policy(share).values()] for share in shares]
    assert counts[0] != counts[1], "learners with different numbers of rows"

    updates = [make_update("cpu") for _ in shares]  # torch's seed is the whole process's

    def member(rank: int) -> tuple[np.ndarray, Any]:
        update = updates[rank]
        group = update.policy.group = LearnerGroup(store, rank, size)
        for i in range(times):
            own = to_tensors(to_arrays(shares[rank]), "cpu")
            metrics = learn_share(update, group, own, 100 * i)
        return update.policy.flat_weights(), metrics

    return in_threads([functools.partial(member, rank) for rank in range(size)])


WHOLE = {"sgd_minibatch_size": 1000, "num_sgd_iter": 3}  # rows are dealt out by chance
KL = {"kl_coeff": 0.2, "kl_target": 1e-4}
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "PPO": ("PPO", {**WHOLE, **KL}, 2),
    "PPO, three learners": ("PPO", {**WHOLE, "vf_clip_param": 0.1}, 3),
    "PPO, LSTM, minibatches": ("PPO", {"model": LSTM, "sgd_minibatch_size": 9, **KL}, 2),
    "PPO, LSTM, fewer sequences": ("PPO", {"model": LSTM, "sgd_minibatch_size": 9}, 3),
    "PPO, same_step": ("PPO", {**WHOLE, "autoreset": "same_step"}, 2),
    "A2C": ("A2C", {"entropy_coeff": 0.01}, 2),
    "A2C, same_step": ("A2C", {"autoreset": "same_step"}, 2),
    "A2C, LSTM": ("A2C", {"model": LSTM}, 2),
    "IMPALA": ("IMPALA", {"opt_type": "rmsprop", "grad_clip": 0.1}, 2),
    "APPO": ("APPO", {"target_network_update_freq": 1, **KL}, 2),
    "PG": ("PG", {}, 2),
    "PG, LSTM": ("PG", {"model": LSTM}, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_several_learners_learn_what_one_learns_from_the_whole_batch(
    case: str, tmp_path: Path
) -> None:
    name, settings, size = CASES[case]
    model = {"fcnet_hiddens": [16], **settings.pop("model", {})}
    config, info = worlds.configured(name, COUNTING, lr=1e-3, **settings)
    config.training(model=model)
    batch = batch_of(name, config, info)
    make_update = functools.partial(FILES[name][1], config, info, 0)
    weights, metrics = learned_alone(make_update, batch, 2)
    members = learned_together(make_update, batch, 2, size, tmp_path / "store")
    for other, _ in members[1:]:
        np.testing.assert_array_equal(members[0][0], other)  # to the last bit: they never part
    np.testing.assert_allclose(members[0][0], weights, atol=1e-5)
    found = members[0][1]
    assert found.keys() == metrics.keys()
    for key in found:
        assert found[key] == pytest.approx(float(metrics[key]), rel=1e-4, abs=1e-4), key


def test_of_several_policies_one_may_have_acted_in_one_learners_share_alone(
    tmp_path: Path,
) -> None:
    config, info = worlds.configured("A2C", COUNTING, lr=1e-3)
    parts = {name: batch_of("A2C", config, info) for name in ("a", "b", "c")}
    parts["b"][c.VALID][:, :3] = False  # the first learner's share
    parts["c"][c.VALID][:] = False
    batch = {f"{name}/{key}": x for name, part in parts.items() for key, x in part.items()}
    makers = {n: functools.partial(a2c.A2CUpdate, config, info, i) for i, n in enumerate(parts)}
    make_update = functools.partial(SeveralUpdates, makers, list(makers))
    weights, metrics = learned_alone(make_update, batch, 1)
    (first, found), (second, _) = learned_together(make_update, batch, 1, 2, tmp_path / "store")
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, weights, atol=1e-5)
    assert found.keys() == metrics.keys() and not any(key.startswith("c/") for key in found)
    assert found["b/vf_loss"] == pytest.approx(float(metrics["b/vf_loss"]), rel=1e-4)


class Telling:
    """An update that puts into its metrics what a user's callback did."""

    def __init__(self, told: dict[str, float]) -> None:
        self._told = told

    def __call__(self, batch: Any, timesteps: int) -> dict[str, float]:
        return {"loss": float(num_rows(batch)), **self._told}


def test_numbers_of_a_users_callback_are_averaged_where_all_put_the_same_in(tmp_path: Path) -> None:
    def told(store: str, *numbers: dict[str, float]) -> list[Any]:
        groups = met(tmp_path / store, 2)
        shares = [{c.ADVANTAGES: torch.zeros(rows)} for rows in (1, 3)]
        return in_threads(
            [
                functools.partial(learn_share, Telling(own), group, share, 0)  # type: ignore[arg-type]
                for own, group, share in zip(numbers, groups, shares, strict=True)
            ]
        )

    first, second = told("same", {"mine/low": 0.0}, {"mine/low": 4.0})
    assert first == second == {"loss": 2.5, "mine/low": 3.0}
    for case, other in {
        "one": {},
        "order": {"b": 2.0, "a": 1.0},
        "name": {"a": 1.0, "c": 5.0},
    }.items():
        first, _ = told(case, {"a": 7.0, "b": 8.0}, other)
        assert first == {"loss": 1.0, "a": 7.0, "b": 8.0}, "the lead's own, of its own rows"


def test_learners_listen_on_the_loopback_interface_alone(tmp_path: Path) -> None:
    before = {connection.laddr for connection in listening()}
    groups = met(tmp_path / "store", 2)
    opened = [connection.laddr for connection in listening() if connection.laddr not in before]
    assert len(opened) >= 2 and {address.ip for address in opened} == {"127.0.0.1"}
    for group in groups:
        group.close()
    assert not [connection for connection in listening() if connection.laddr in opened]


def listening() -> list[Any]:
    connections = psutil.Process().net_connections(kind="inet")
    return [found for found in connections if found.status == psutil.CONN_LISTEN]


def test_when_another_goes_the_lead_goes_on_with_its_own_rows_and_a_partner_stops(
    tmp_path: Path,
) -> None:
    lead, partner, gone = met(tmp_path / "store", 3)
    gone.close()
    alone, stopped = in_threads([lambda: lead.sum(torch.tensor([2.0])), lambda: given_up(partner)])
    assert alone.tolist() == [2.0] and lead.is_lost
    assert stopped
    assert lead.place(7) == (0, 7)
    assert float(lead.mean(torch.tensor(6.0), torch.tensor(3))) == 2.0
    gradient = torch.tensor([1.0, 2.0])
    lead.average(gradient, torch.tensor([True, True]))
    assert gradient.tolist() == [1.0, 2.0]


def given_up(partner: LearnerGroup) -> bool:
    with pytest.raises(GroupLost):
        partner.sum(torch.tensor([3.0]))
    return partner.is_lost


def test_nobody_waits_for_ever_for_one_who_does_not_come_or_does_not_answer(
    tmp_path: Path,
) -> None:
    with pytest.raises(GroupLost):
        LearnerGroup(tmp_path / "alone", 0, 2, meet_s=0.2)
    lead, silent = met(tmp_path / "store", 2, timeout_s=0.2)
    assert lead.sum(torch.tensor([2.0])).tolist() == [2.0]
    assert lead.is_lost
    silent.close()
