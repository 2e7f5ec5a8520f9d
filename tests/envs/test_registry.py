import pickle
import sys

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec

from actorrl.envs import registry
from actorrl.envs.registry import EnvContext, make_env, register_env, resolve, successor
from actorrl.errors import ConfigError
from actorrl.testing.probe_envs import Chain, ConstantReward, CountingEnv


def test_a_registered_name_stands_for_its_creator():
    register_env("my_chain", lambda context: Chain(context["n"]))
    found = resolve("my_chain")
    assert found.env is registry.registered("my_chain")
    assert found.name == "my_chain"
    assert make_env(found.env, EnvContext({"n": 3})).n == 3
    assert make_env("my_chain", EnvContext({"n": 4})).n == 4


def test_what_a_script_has_registered_is_made_to_be_rendered_as_gymnasiums_own_are(monkeypatch):
    asked = []

    def creator(render_mode=None):
        asked.append(render_mode)
        return Chain(3)

    monkeypatch.setitem(gym.registry, "Seen-v0", EnvSpec("Seen-v0", entry_point=creator))
    travelled = resolve("Seen-v0").env
    make_env(travelled, EnvContext(render_mode="rgb_array"))
    assert asked == ["rgb_array"]


def test_an_id_stays_an_id():
    assert resolve("CartPole-v1") == ("CartPole-v1", "CartPole-v1", None)


@pytest.mark.parametrize(
    "path", ["actorrl.testing.probe_envs:Chain", "actorrl.testing.probe_envs.Chain"]
)
def test_a_path_stands_for_its_class(path):
    assert resolve(path).env is Chain


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CartPole-v0", "CartPole-v1"),
        ("Pendulum-v0", "Pendulum-v1"),
        ("MountainCar-v0", "MountainCar-v0"),
        ("Acrobot-v0", "Acrobot-v1"),
        ("HalfCheetah-v2", "HalfCheetah-v5"),
        ("CartPole-v1", "CartPole-v1"),
        ("NoSuch-v1", "NoSuch-v1"),
    ],
)
def test_old_ids_run_under_their_successor_with_a_notice(old, new):
    found, notice = successor(old)
    assert found == new
    assert (notice is not None) == (old != new)
    assert notice is None or (old in notice and new in notice)


@pytest.mark.parametrize(
    "old",
    ["PongDeterministic-v4", "PongNoFrameskip-v4", "PongDeterministic-v0", "Pong-v0", "Pong-v4"],
)
def test_old_atari_ids_run_as_ale_v5(old):
    pytest.importorskip("ale_py")
    assert successor(old)[0] == "ALE/Pong-v5"
    assert resolve(old).env == "ALE/Pong-v5"


EXPECTED = (
    "expected a name that `actorrl list envs` has, one given to register_env, or"
    " package.module:Class"
)


@pytest.mark.parametrize(
    ("env", "line"),
    [
        ("CartPol-v1", "env: unknown environment 'CartPol-v1', did you mean 'CartPole-v1'?"),
        ("cartpole-v1", "env: unknown environment 'cartpole-v1', did you mean 'CartPole-v1'?"),
        ("CartPole", "env: unknown environment 'CartPole', did you mean 'CartPole-v1'?"),
        ("Qqqqqqqq-v7", f"env: unknown environment 'Qqqqqqqq-v7', {EXPECTED}"),
        ("", f"env: unknown environment '', {EXPECTED}"),
        (
            "actorrl.testing.probe_envs:Chian",
            "env: 'actorrl.testing.probe_envs' has no 'Chian', did you mean 'Chain'?",
        ),
        ("no.such:Thing", "env: cannot import 'no.such': No module named 'no'"),
        (
            "actorrl.testing.probe_envs:np",
            "env: 'actorrl.testing.probe_envs:np' is a module, accepted are classes and functions",
        ),
    ],
)
def test_what_cannot_be_found_is_one_line(env, line):
    with pytest.raises(ConfigError) as caught:
        resolve(env)
    assert caught.value.messages == [line]
    assert caught.value.exit_code == 2


def test_something_else_is_no_environment():
    with pytest.raises(ConfigError, match="env: 3 is no environment"):
        resolve(3)


def test_a_misspelt_atari_game_gets_a_hint():
    pytest.importorskip("ale_py")
    with pytest.raises(ConfigError, match="did you mean 'ALE/Pong-v5'"):
        resolve("ALE/Pongg-v5")


@pytest.mark.parametrize("env", ["ALE/Pong-v5", "PongNoFrameskip-v4"])
def test_without_ale_py_the_line_says_what_to_install(monkeypatch, env):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        resolve(env)
    assert 'pip install "actorrl[atari]"' in str(caught.value)
    assert len(caught.value.messages) == 1


def test_creators_get_the_context_or_keywords_as_they_ask_for():
    context = EnvContext({"limit": 3}, worker_index=2, vector_index=5, num_workers=4)
    assert (context.worker_index, context.vector_index, context.num_workers) == (2, 5, 4)
    assert context.remote is False
    assert make_env(ConstantReward, context).limit == 3
    assert make_env(CountingEnv, context).env_number == 5
    assert make_env(lambda: Chain(2), EnvContext()).n == 2
    assert make_env(lambda **kwargs: ConstantReward(**kwargs), context).limit == 3

    class Required(ConstantReward):
        def __init__(self, whatever):
            super().__init__(whatever["limit"])

    assert make_env(Required, context).limit == 3


def test_env_config_reaches_a_gymnasium_id():
    env = make_env("CartPole-v1", EnvContext({"sutton_barto_reward": True}))
    assert env.unwrapped._sutton_barto_reward is True


def test_reward_thresholds_come_from_the_spec():
    assert registry.reward_threshold("CartPole-v1") == 475.0
    assert registry.reward_threshold("Pendulum-v1") is None
    assert registry.reward_threshold(Chain) is None


def test_an_id_with_a_module_before_it_imports_the_module(tmp_path, monkeypatch):
    (tmp_path / "registers_one.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('OfAModule-v0', entry_point='actorrl.testing.probe_envs:Chain')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = resolve("registers_one:OfAModule-v0")
    del gym.registry["OfAModule-v0"]  # as in a worker, which has not imported the module
    del sys.modules["registers_one"]
    made = make_env(pickle.loads(pickle.dumps(found.env)), EnvContext({"n": 3}))
    assert made.unwrapped.n == 3 and found.name == "OfAModule-v0"
    assert "OfAModule-v0" in gym.registry, "it may make others of its ids"
    del gym.registry["OfAModule-v0"]
