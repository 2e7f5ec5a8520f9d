"""RLlib's `rollout`, films, and evaluations of checkpoints: episodes that nobody learns from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import actorrl
from actorrl.algorithms.a2c import A2CConfig
from actorrl.cli.main import run
from actorrl.envs.film import missing
from actorrl.errors import ConfigError

needs_film = pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")


class Dial(gym.Env[Any, Any]):
    """Five steps of reward 2; what it shows is as bright as the step's number. Its actions are 5
    and 6."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gym.spaces.Box(0.0, 9.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2, start=5)
    length = 5

    def __init__(self, config: Any = None) -> None:
        self.render_mode = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:
        assert self.action_space.contains(action)
        self.t += 1
        return np.full(1, min(self.t, 9), np.float32), 2.0, self.t == self.length, False, {}

    def render(self) -> np.ndarray:
        assert self.render_mode == "rgb_array"
        return np.full((40, 48, 3), 40 * self.t, np.uint8)


class Longer(Dial):
    length = 8


class Endless(Dial):
    length = -1


class Wider(Dial):
    observation_space = gym.spaces.Box(0.0, 99.0, (1,), np.float32)


@pytest.fixture(scope="module")
def algo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    config = A2CConfig().environment(Dial).rollouts(num_workers=0, num_envs_per_worker=2)
    config.training(train_batch_size=100, record_video=missing() is None)
    with config.build(results=tmp_path_factory.mktemp("results"), name="run") as algo:
        algo.train()
        yield algo


def frames_of(path: str | Path) -> np.ndarray:
    import imageio.v2 as imageio

    assert Path(path).stat().st_size > 1000
    # not list(...): the reader says that it is infinitely long
    return np.stack([*iter(imageio.get_reader(path, format="FFMPEG").iter_data())])


def test_rollout_returns_the_rewards_of_whole_episodes_or_of_so_many_steps(algo: Any) -> None:
    assert actorrl.rollout(algo) == [10.0]
    assert actorrl.rollout(algo, num_episodes=3, no_render=True) == [10.0] * 3
    assert actorrl.rollout(algo, num_steps=7, num_episodes=9) == [10.0, 4.0]
    assert actorrl.rollout(algo, Endless, num_steps=20) == [40.0]


def test_rollout_plays_in_another_environment_and_from_a_checkpoint(algo: Any) -> None:
    assert actorrl.rollout(algo, Longer) == [16.0]
    assert actorrl.rollout(algo.save(), Dial, num_episodes=2) == [10.0, 10.0]
    with pytest.raises(ConfigError, match=r"'Wider' has the observation_space .*expected"):
        actorrl.rollout(algo, Wider)


@needs_film
def test_films_of_rollouts_have_a_frame_for_each_observation(algo: Any, tmp_path: Path) -> None:
    actorrl.rollout(algo, num_episodes=2, video_dir=tmp_path / "films")
    films = sorted((tmp_path / "films").iterdir())
    assert [film.name for film in films] == ["Dial-1.mp4", "Dial-2.mp4"]
    for film in films:
        frames = frames_of(film)
        assert frames.shape == (6, 40, 48, 3)
        np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), np.arange(6) * 40, atol=8)


@needs_film
def test_a_run_with_monitor_leaves_films_in_its_folder(algo: Any) -> None:
    (film,) = (Path(algo.logdir) / "videos").iterdir()
    assert film.name == "iteration_000001-1.mp4" and len(frames_of(film)) == 6


@needs_film
def test_an_environment_that_cannot_be_rendered_costs_the_films_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = A2CConfig().environment("actorrl.testing.probe_envs:CountingEnv")
    config.rollouts(num_workers=0).from_dict({})
    config["monitor"] = True
    with config.build(results=tmp_path, name="run") as algo:
        algo.train()
    assert "record_video: render()" in caplog.text and "monitor: is called" in config.notices[0]


@needs_film
def test_the_command_line_films_as_well_and_counts_steps(
    algo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, words = algo.save(), ["--env", f"{__name__}:Dial", "--json"]
    films = str(tmp_path / "films")
    command = ["rollout", checkpoint, "--run", "A2C", *words, "--no-render"]
    assert run([*command, "--episodes", "2", "--video-dir", films]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["episode_reward_mean"] == 10.0
    assert printed.err.count("film: ") == 2 and len(list(Path(films).iterdir())) == 2
    assert run([*command, "--steps", "12", "--out", "rows.pkl"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["episodes"] == 3 and "notice: --out" in printed.err


@needs_film
def test_a_folder_that_films_cannot_go_to_is_named_before_an_episode_is_played(
    algo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a file")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        words = ["--env", f"{__name__}:Dial", "--video", str(folder)]
        assert run(["evaluate", algo.save(), *words]) == 2
        assert f"error: --video: {folder} cannot be made (" in capsys.readouterr().err
        with pytest.raises(ConfigError, match=r"video_dir: .* cannot be made"):
            actorrl.rollout(algo, video_dir=folder)


@needs_film
def test_a_checkpoint_that_cannot_be_read_leaves_no_folder_for_its_films(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    films = tmp_path / "films" / "of" / "it"
    assert run(["evaluate", str(tmp_path / "half"), "--video", str(films)]) == 2
    assert not (tmp_path / "films").exists()


def test_policies_of_a_checkpoint_act_without_a_run(tmp_path: Path) -> None:
    config = A2CConfig().environment(Dial).rollouts(num_workers=0)
    with config.build(results=tmp_path, name="run") as algo:
        algo.train()
        path, obs = algo.save(), np.full(1, 3.0, np.float32)
        wanted = algo.get_policy().compute_actions(obs[None])[2]["action_dist_inputs"]
        state = algo.get_policy().get_state()
        both = algo.compute_actions({"a": obs, 7: obs})
        assert both == dict.fromkeys(("a", 7), algo.compute_single_action(obs))
        assert set(both.values()) <= {5, 6}, "as the environment counts them"
        actions, states, extras = algo.compute_actions({"a": obs}, full_fetch=True)
        assert set(actions) == set(states) == {"a"} and "vf_preds" in extras["a"]
    policy = actorrl.Policy.from_checkpoint(path, Dial)["default_policy"]
    found = policy.compute_actions(obs[None])[2]["action_dist_inputs"]
    np.testing.assert_array_equal(found, wanted)
    policy.set_state({"weights": {name: 0 * x for name, x in state["weights"].items()}})
    assert not policy.flat_weights().any() and not policy.is_recurrent()
