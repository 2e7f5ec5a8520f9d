"""launch, evaluate, resume and plan as a user types them, on one small run."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.clusters import is_alive

ACTORRL = [sys.executable, "-m", "actorrl"]
A2C = ["--algo", "A2C", "--env", "CartPole-v1", "--workers", "0", "--seed", "1"]

ENVIRONMENT = """
import gymnasium as gym
import numpy as np

class Fails(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config):
        self.config = config
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        if self.config["in"] == "reset":
            raise ValueError("the robot is asleep")
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps > 50:
            raise ValueError("the robot fell")
        return np.zeros(2, np.float32), 1.0, False, False, {}
"""


def actorrl(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line with its own home, so that nothing of the user's is touched."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "HOME": str(cwd), "PYTHONPATH": root}
    environment.pop("XDG_STATE_HOME", None)
    return subprocess.run(
        [*ACTORRL, *words], capture_output=True, text=True, cwd=cwd, env=environment, timeout=100
    )


def test_a_run_ends_at_its_criterion_and_its_last_lines_work(tmp_path: Path) -> None:
    done = actorrl("train", *A2C, "--stop", "timesteps_total=2000", "--name", "one", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "actorrl_results" / "one"
    lines = done.stdout.splitlines()
    assert lines[0] == "A2C on CartPole-v1 until timesteps_total >= 2000"
    assert lines[-4].startswith("ended: timesteps_total 2")
    rows = [json.loads(line) for line in (folder / "result.json").read_text().splitlines()]
    assert rows[-1]["timesteps_total"] >= 2000 > rows[-2]["timesteps_total"]

    evaluate = shlex.split(lines[-2].removeprefix("evaluate:"))
    resume = shlex.split(lines[-1].removeprefix("resume:"))
    assert evaluate[:3] == resume[:3] == ACTORRL
    done = actorrl(*evaluate[3:], "--json", cwd=tmp_path)
    played = json.loads(done.stdout)
    assert played["episodes"] == 20
    assert played["episode_reward_min"] <= played["episode_reward_mean"]

    done = actorrl(*resume[3:], "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    newer = [json.loads(line) for line in (folder / "result.json").read_text().splitlines()]
    assert [row["training_iteration"] for row in newer] == list(range(1, len(newer) + 1))
    assert newer[len(rows)]["timesteps_total"] > rows[-1]["timesteps_total"]
    assert newer[-1]["timesteps_total"] >= 2 * rows[-1]["timesteps_total"]

    status = json.loads(actorrl("status", "one", "--json", cwd=tmp_path).stdout)
    assert (status["run"], status["algo"], status["env"]) == ("one", "A2C", "CartPole-v1")
    again = actorrl("launch", *A2C, "--name", "one", cwd=tmp_path)
    assert again.returncode == 2 and "exists already" in again.stderr


def test_plan_shows_actors_and_links_and_makes_nothing(tmp_path: Path) -> None:
    done = actorrl("plan", "--algo", "APEX", "--env", "CartPole-v0", "--workers", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in ("rollout/0..2", "replay/0", "learner/0", "weights", "stream(", "  local "):
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("where", "code"), [("reset", 2), ("step", 1)])
def test_an_environment_that_raises_is_shown_with_its_own_traceback_first(
    tmp_path: Path, where: str, code: int
) -> None:
    (tmp_path / "robot.py").write_text(ENVIRONMENT)
    words = ["--algo", "A2C", "--env", "robot:Fails", "--workers", "0", "--name", "broken"]
    done = actorrl("launch", *words, "--set", f"env_config.in={where}", cwd=tmp_path)
    assert done.returncode == code
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Traceback") and "robot.py" in lines[1]
    assert "the robot" in lines[-1] and lines[-1].startswith("error: ")
    assert "actorrl/" not in done.stderr, "no stack of ours"
    assert (tmp_path / "actorrl_results" / "broken").exists() == (where == "step")


def test_mistakes_leave_no_run_folder(tmp_path: Path) -> None:
    done = actorrl("launch", *A2C, "--set", "lr=-1", "--stop", "time_totl_s=3", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: time_totl_s: unknown result key, did you mean 'time_total_s'?",
        "error: lr: -1 is not accepted, expected a number > 0",
    ]
    assert list(tmp_path.iterdir()) == []


PRINTS = """
from actorrl import DefaultCallbacks

class Prints(DefaultCallbacks):
    def on_train_result(self, *, algorithm, result, **kwargs):
        print(result["training_iteration"], flush=True)
"""


@pytest.mark.parametrize("who_prints", ["actorrl", "a callback"])
def test_a_run_that_nobody_reads_any_more_ends_with_a_checkpoint(
    tmp_path: Path, who_prints: str
) -> None:
    """`actorrl launch ... | head -n 3`: it begins to train, and then has something to say."""
    words = ["launch", *A2C, "--stop", "timesteps_total=1e9", "--name", "one"]
    if who_prints == "a callback":
        (tmp_path / "prints.py").write_text(PRINTS)
        words += ["--set", "callbacks=prints:Prints", "--quiet"]
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with subprocess.Popen(
        [*ACTORRL, *words], stdout=subprocess.PIPE, cwd=tmp_path, env=environment
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith(b"run folder: ") for line in process.stdout)
        process.stdout.close()
        assert process.wait(timeout=60) == 130
    assert list((tmp_path / "actorrl_results" / "one" / "checkpoints").iterdir())


REGISTERS = """
import gymnasium as gym
gym.register("OfAPackage-v0", entry_point="gymnasium.envs.classic_control.cartpole:CartPoleEnv",
             max_episode_steps=20)
"""


def test_an_environment_of_a_package_that_registers_it_trains_and_is_played(tmp_path: Path) -> None:
    (tmp_path / "registers.py").write_text(REGISTERS)
    words = ["--algo", "A2C", "--env", "registers:OfAPackage-v0", "--workers", "1", "--name", "one"]
    done = actorrl("launch", *words, "--stop", "training_iteration=1", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = actorrl("evaluate", "one", "--episodes", "2", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 0 < json.loads(done.stdout)["episode_reward_mean"] <= 20


A_PROCESS_EACH = """
import os, pathlib, re
import gymnasium as gym
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

class Slow(CartPoleEnv):
    def reset(self, **options):
        pathlib.Path("pids", str(os.getpid())).touch()
        return super().reset(**options)

def many(num_envs, max_episode_steps):
    one = lambda: gym.wrappers.TimeLimit(Slow(), max_episode_steps)
    made = gym.vector.AsyncVectorEnv([one] * num_envs)
    with open("semaphores", "a") as inodes:
        print(*re.findall("([0-9]+) +/dev/shm/sem", open("/proc/self/maps").read()), file=inodes)
    return made

gym.register("Slow-v0", entry_point=Slow, vector_entry_point=many, max_episode_steps=20)
"""


def test_an_environment_whose_vectoriser_makes_processes_trains_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "slow.py").write_text(A_PROCESS_EACH)
    (tmp_path / "pids").mkdir()
    words = ["--algo", "A2C", "--env", "slow:Slow-v0", "--workers", "1", "--name", "one"]
    words += ["--set", "num_envs_per_worker=3", "--stop", "training_iteration=1", "--quiet"]
    done = actorrl("launch", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    assert len(pids) == 3 + 1  # the driver tried one in its own process
    assert not [pid for pid in pids if is_alive(pid)]
    made = {int(inode) for inode in (tmp_path / "semaphores").read_text().split()}
    assert made and not made & {file.inode() for file in os.scandir("/dev/shm")}


TALKATIVE = """
import gymnasium as gym
import numpy as np

class Talks(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        print("hello")
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 1.0, True, False, {}
"""


def test_what_an_environment_prints_is_no_json_and_where_it_has_gone_can_be_said(
    tmp_path: Path,
) -> None:
    (tmp_path / "here.py").write_text(TALKATIVE)
    words = ["--algo", "A2C", "--env", "here:Talks", "--workers", "0", "--name", "one", "--quiet"]
    done = actorrl("launch", *words, "--stop", "training_iteration=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = actorrl("evaluate", "one", "--episodes", "2", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["episode_reward_mean"] == 1.0
    assert done.stderr.startswith("hello\n")

    (tmp_path / "here.py").rename(tmp_path / "there.py")
    further = ["resume", "one", "--quiet", "--stop", "training_iteration=2"]
    done = actorrl(*further, cwd=tmp_path)
    assert done.returncode == 2 and "on the command line: --env module:Talks" in done.stderr
    done = actorrl(*further, "--env", "there:Talks", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = actorrl("evaluate", "one", "--episodes", "2", cwd=tmp_path)
    assert done.returncode == 0, "the newest checkpoint knows where it is"
