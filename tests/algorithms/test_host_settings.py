"""From settings and host list to the Program's needs: which of both is followed."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import numpy as np
import pytest

from actorrl.algorithms import far_hosts
from actorrl.algorithms.apex_dqn import APEXConfig
from actorrl.algorithms.base import Setup
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.dqn import DQNConfig
from actorrl.algorithms.impala import IMPALAConfig
from actorrl.algorithms.ppo import PPOConfig
from actorrl.algorithms.registry import config_class, names
from actorrl.envs.check import check_env
from actorrl.errors import ConfigError, PlacementError
from actorrl.policies.exploration import exploration_ladder
from actorrl.runtime.host_specs import ClusterSpec, HostSpec, ResourceSpec
from actorrl.runtime.hosts import load_cluster
from actorrl.runtime.program import Program

LIST = """
hosts: [local]
roles:
  rollout: {count: 3, cpu: 2, gpu: 0.2, mem: 1MB}
  replay: {count: 5, mem: 2MB}
  learner: {gpu: 1}
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = tmp_path / "hosts.yml"
    path.write_text(LIST)
    return str(path)


def needs(program: Program) -> dict[str, tuple[int, float, float, int]]:
    """role -> (count, cpu, gpu, mem)"""
    nodes = list(program.nodes.values())
    return {
        node.role: (sum(n.role == node.role for n in nodes), node.cpu, node.gpu, node.mem)
        for node in nodes
    }


def test_the_roles_of_the_host_list_reach_the_program(path):
    config = APEXConfig().environment("CartPole-v1").cluster(hosts=path)
    assert needs(config.program()) == {
        "replay": (5, 0.2, 0, 2_000_000),
        "learner": (1, 1, 1, 0),
        "rollout": (3, 2, 0.2, 1_000_000),
    }
    assert config.resolved_num_gpus() == 1


def test_workers_on_hosts_with_other_cores_explore_on_the_ladder_of_the_run(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(5)))
    config = APEXConfig().environment("CartPole-v1").rollouts(num_envs_per_worker=2)
    setup = Setup(check_env("CartPole-v1", {}), 0, lambda: None)
    sent = cloudpickle.dumps(setup.acting(config, config.algorithm.make_policy))
    for cores in (2, 64):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: set(range(cores)))
        policy = cloudpickle.loads(sent)(0, np.array([6, 7]))
        np.testing.assert_array_equal(policy.epsilons, exploration_ladder(4 * 2)[6:])


def test_settings_go_before_the_host_list(path):
    config = APEXConfig().environment("CartPole-v1").cluster(hosts=path)
    config.resources(num_gpus=0, num_cpus_per_worker=1, num_gpus_per_worker=0)
    config.rollouts(num_workers=2).training(num_replay_shards=1)
    assert needs(config.program()) == {
        "replay": (1, 0.2, 0, 2_000_000),
        "learner": (1, 1, 0, 0),
        "rollout": (2, 1, 0, 1_000_000),
    }


def test_settings_reach_the_program_without_a_host_list():
    config = IMPALAConfig().environment("CartPole-v1").rollouts(num_workers=2)
    assert needs(config.program()) == {"learner": (1, 1, 0, 0), "rollout": (2, 1, 0, 0)}
    config.resources(num_gpus=0.5, num_cpus_per_worker=0.5, num_gpus_per_worker=0.25)
    assert needs(config.program()) == {"learner": (1, 1, 0.5, 0), "rollout": (2, 0.5, 0.25, 0)}


# ---- several learners -----------------------------------------------------------------------


def test_learners_are_said_in_rllibs_ways_or_by_the_host_list(tmp_path):
    newer = PPOConfig().learners(num_learners=2, num_gpus_per_learner=0.5)
    older = PPOConfig().resources(num_learner_workers=2, num_gpus_per_learner_worker=0.5)
    assert newer.num_learners == older.num_learners == 2
    assert newer.num_gpus == older.num_gpus == 0.5
    assert PPOConfig().resolved_num_learners() == 1
    assert PPOConfig().learners(num_learners=0).resolved_num_learners() == 1
    hosts = tmp_path / "learners.yml"
    hosts.write_text("{hosts: [local], roles: {learner: {count: 3}}}")
    assert PPOConfig().cluster(hosts=str(hosts)).resolved_num_learners() == 3
    assert (
        PPOConfig().cluster(hosts=str(hosts)).learners(num_learners=2).resolved_num_learners() == 2
    )
    assert APEXConfig().cluster(hosts=str(hosts)).resolved_num_learners() == 1


def test_a_train_batch_is_that_of_all_learners_and_who_thinks_otherwise_is_told():
    config = PPOConfig().training(train_batch_size_per_learner=500).learners(num_learners=2)
    assert config.train_batch_size == 500
    (notice,) = [line for line in config.notices if line.startswith("train_batch_size_per_learner")]
    assert notice.endswith("the rows of all learners together")


def test_several_learners_are_actors_of_one_role_that_share_a_host():
    config = IMPALAConfig().environment("CartPole-v1").learners(num_learners=3)
    program = config.rollouts(num_workers=2).program()
    assert needs(program) == {"learner": (3, 1, 0, 0), "rollout": (2, 1, 0, 0)}
    assert program.together == {"learner"}
    (link,) = [link for link in program.links.values() if link.name == "shares"]
    assert (link.sources, link.targets) == (("learner/0",), ("learner/1", "learner/2"))
    assert "shares" not in config.learners(num_learners=1).program().links


@pytest.mark.parametrize("algo", names())
def test_who_cannot_have_several_learners_says_who_can(algo):
    config = config_class(algo)().update_from_dict({"num_learners": 2})
    lines = [line for line in config.validate() if "num_learners" in line]
    if config.several_learners:
        assert lines == []
        config.rollouts(num_workers=0)
        (line,) = [line for line in config.validate() if "num_learners" in line]
        assert "num_workers: 0" in line
    else:
        able = "A2C, APPO, IMPALA, PG, PPO can have more"
        assert lines == [
            f"num_learners: 2 is not accepted, this algorithm has one learner ({able})"
        ]


def test_a_batch_has_an_environment_for_each_learner():
    few = {"num_workers": 1, "num_envs_per_worker": 2, "num_learners": 3}
    (line,) = PPOConfig().update_from_dict(few).validate()
    assert line.startswith("num_learners: 3 is more than the 2 environments of a train batch")
    assert PPOConfig().update_from_dict({**few, "num_workers": 2}).validate() == []
    few |= {"rollout_fragment_length": 10, "train_batch_size": 20}
    (line,) = IMPALAConfig().update_from_dict(few).validate()
    assert "at most 2" in line
    config = IMPALAConfig().update_from_dict({**few, "train_batch_size": 40})
    assert config.validate() == []
    assert config.arithmetic().endswith("2 of these per train batch of 40, shared by 3 learners")


def test_workers_leave_the_learners_their_cores():
    hosts = ClusterSpec(hosts=(HostSpec(name="local", resources=ResourceSpec(cpu=8)),))
    config = PPOConfig().cluster(hosts=hosts)
    assert config.resolved_num_workers() == 7
    assert config.learners(num_learners=3).resolved_num_workers() == 5


def test_hosts_are_a_path_a_list_or_a_value(path):
    by_path = IMPALAConfig().cluster(hosts=path).cluster_spec()
    assert IMPALAConfig().cluster(hosts=Path(path)).cluster_spec() == by_path
    assert IMPALAConfig().cluster(hosts=load_cluster(path)).cluster_spec() == by_path
    assert IMPALAConfig().cluster(hosts="local:3").resolved_num_workers() == 2
    assert IMPALAConfig().cluster_spec().hosts == (HostSpec(name="local"),)


def test_mistakes_in_a_host_list_are_told_when_it_is_given(tmp_path):
    path = tmp_path / "hosts.yml"
    path.write_text("hosts: [local]\nnetwrk: {}")
    with pytest.raises(ConfigError, match=r"line 2: netwrk: unknown key, did you mean 'network'"):
        IMPALAConfig().cluster(hosts=str(path))
    with pytest.raises(ConfigError, match=r"hosts: there is no file 'clustre\.yml'"):
        IMPALAConfig().update_from_dict({"hosts": "clustre.yml"})


def test_one_process_cannot_be_on_several_hosts():
    config = IMPALAConfig().rollouts(num_workers=0).cluster(hosts="local,a")
    assert any(line.startswith("num_workers: 0") for line in config.validate())


def test_a_run_that_cannot_be_placed_is_refused_before_its_folder_is_made(tmp_path):
    config = IMPALAConfig().environment("CartPole-v1").resources(num_gpus=999)
    with pytest.raises(PlacementError, match="learner/0 needs 999 GPU"):
        config.build(results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_hosts_and_what_is_secret_of_them_are_not_part_of_a_checkpoint():
    from actorrl.algorithms.restoring import plain_config

    hosts = ClusterSpec(hosts=(HostSpec(name="local", env={"TOKEN": "secret"}),))
    config = IMPALAConfig().environment("CartPole-v1").cluster(hosts=hosts)
    assert "secret" not in str(plain_config(config))


# ---- what cannot fit -------------------------------------------------------------------------


def memory_asked(config: AlgorithmConfig, role: str) -> int:
    return needs(config.environment("CartPole-v1").program())[role][3]


def test_replay_asks_for_the_memory_that_it_will_take():
    half = memory_asked(
        APEXConfig().training(num_replay_shards=2, replay_capacity=1 << 20), "replay"
    )
    assert half == (1 << 19) * 48 + (1 << 20) * 8
    own = memory_asked(DQNConfig().training(replay_capacity=1000), "learner")
    assert own == 1000 * 48 + 2048 * 8
    assert memory_asked(IMPALAConfig(), "learner") == 0


@pytest.mark.parametrize("config_class", [APEXConfig, DQNConfig])
def test_a_replay_that_fits_on_no_host_is_refused_with_the_arithmetic(config_class, tmp_path):
    config = config_class().environment("CartPole-v1").training(replay_capacity=10**13)
    with pytest.raises(PlacementError, match=r"a replay of [\d,]+ rows x 48 B(.|\n)*memory free"):
        config.build(results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_batch_larger_than_the_replay_is_refused_with_both_numbers():
    config = DQNConfig().training(replay_capacity=100, train_batch_size=101, learning_starts=1)
    assert any(
        "101 rows cannot come from replay_capacity 100" in line for line in config.validate()
    )


@pytest.mark.parametrize(("frame_stack", "storage"), [(1, "raw"), (4, "lz4")])
def test_stacked_frames_are_kept_compressed_unless_told_otherwise(frame_stack, storage):
    info = dataclasses.replace(check_env("CartPole-v1", {}), frame_stack=frame_stack)
    assert DQNConfig().storage_for(info) == storage
    assert DQNConfig().training(storage="raw").storage_for(info) == "raw"


@pytest.mark.parametrize("storage", ["lz4", "cuda"])
def test_other_storage_is_refused_where_no_frames_are_stacked(storage):
    config = DQNConfig().environment("CartPole-v1").training(storage=storage, num_gpus=1)
    with pytest.raises(ConfigError, match=f"storage: {storage} is for stacked frames, CartPole-v1"):
        config.program()


@pytest.mark.parametrize(
    ("config_class", "num_gpus", "said"),
    [(DQNConfig, 0, "num_gpus is 0"), (APEXConfig, 1, "shards are processes without a GPU")],
)
def test_frames_on_a_gpu_are_refused_where_none_holds_them(config_class, num_gpus, said):
    config = config_class().training(storage="cuda", num_gpus=num_gpus)
    (line,) = config.validate()
    assert line.startswith("storage: cuda") and said in line


def test_hosts_that_say_no_cores_have_workers_for_all_that_were_counted_there() -> None:
    config = IMPALAConfig().environment("CartPole-v1").cluster(hosts="local:2,a,b:4")
    assert config.resolved_num_workers() == 2 + 1 + 4 - 1  # before a is reached
    launch: Any = SimpleNamespace(cores=lambda: {"a": 16, "b": 64})
    known = far_hosts.with_cores(config, launch)
    assert known.resolved_num_workers() == 2 + 16 + 4 - 1 and known.is_frozen
    assert config.resolved_num_workers() == 6
    assert far_hosts.with_cores(config, None) is config
