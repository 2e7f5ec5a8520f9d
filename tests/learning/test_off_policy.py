"""Replay and evolution: CartPole with default settings, Pendulum with the packaged tuned files.

One seed each here; `-m gates` has three, all of which must do. The seeds were not tuned on.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.runs import actorrl, rows_in

pytestmark = pytest.mark.timeout(3000)
# Algorithm: reward mean on CartPole, within so many env steps.
CARTPOLE = {
    "ES": (300, 1_000_000),
    "ARS": (300, 1_000_000),
    "DQN": (450, 200_000),
    # The mean is over 100 episodes: at 400 these alone are 40,000 env steps.
    "SAC": (400, 100_000),
}
QUICK = ("ES", "ARS")
# Tuned file: reward mean of 100 greedy episodes of Pendulum, at the end of the file's env steps.
PENDULUM = {
    "pendulum-sac": -200,
    "pendulum-td3": -200,
    "pendulum-ddpg": -200,
    "pendulum-apex-ddpg": -250,
}
SEEDS = (201, 202, 203)


def reaches(algo: str, seed: int, home: Path) -> None:
    reward, most = CARTPOLE[algo]
    words = ["--algo", algo, "--env", "CartPole-v1", "--seed", str(seed), "--name", "run"]
    stop = ["--stop", f"episode_reward_mean={reward}", "--stop", f"timesteps_total={2 * most}"]
    done = actorrl(
        "launch", *words, *stop, "--results", str(home), "--quiet", home=home, timeout=2900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = rows_in(home / "run")[-1]
    print(f"{algo} seed {seed}: {last['timesteps_total']} env steps, {last['time_total_s']:.0f} s")
    assert last["episode_reward_mean"] >= reward and last["timesteps_total"] <= most


def plays(example: str, seed: int, home: Path) -> None:
    words = ["-f", example, "--seed", str(seed), "--name", "run", "--results", str(home)]
    done = actorrl("launch", *words, "--quiet", home=home, timeout=2900)
    assert done.returncode == 0, done.stdout + done.stderr
    done = actorrl("evaluate", str(home / "run"), "--episodes", "100", "--json", home=home)
    assert done.returncode == 0, done.stderr
    mean = json.loads(done.stdout)["episode_reward_mean"]
    print(f"{example} seed {seed}: {mean:.1f}")
    assert mean >= PENDULUM[example]


@pytest.mark.parametrize("algo", QUICK)
def test_evolution_learns_cartpole(algo: str, tmp_path: Path) -> None:
    reaches(algo, 101, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("algo", [algo for algo in CARTPOLE if algo not in QUICK])
def test_replay_learns_cartpole(algo: str, tmp_path: Path) -> None:
    reaches(algo, 101, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("example", PENDULUM)
def test_a_tuned_file_learns_pendulum(example: str, tmp_path: Path) -> None:
    plays(example, 101, tmp_path)


@pytest.mark.gates
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("algo", CARTPOLE)
def test_every_seed_learns_cartpole(algo: str, seed: int, tmp_path: Path) -> None:
    reaches(algo, seed, tmp_path)


@pytest.mark.gates
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("example", PENDULUM)
def test_every_seed_learns_pendulum(example: str, seed: int, tmp_path: Path) -> None:
    plays(example, seed, tmp_path)
