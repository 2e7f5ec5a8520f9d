import json
import math

import numpy as np
import pytest

from actorrl.data.fragment import Episode
from actorrl.rollouts.episodes import EpisodeTracker, EpisodeWindow


def episodes(*pairs):
    return [Episode(env, float(value), int(value)) for env, value in pairs]


def test_rows_that_are_no_decision_count_for_nothing():
    tracker = EpisodeTracker(1)
    rewards = np.array([[1.0], [2.0], [99.0], [4.0]], np.float32)
    ended = np.array([[False], [True], [False], [True]])
    valid = np.array([[True], [True], [False], [True]])
    assert tracker.add(rewards, ended, valid) == [Episode(0, 3.0, 2), Episode(0, 4.0, 1)]


def test_sums_do_not_lose_small_rewards_after_large_ones():
    tracker = EpisodeTracker(1)
    rewards = np.full((1001, 1), 0.25, np.float32)
    rewards[0] = 2.0**25
    ended = np.zeros((1001, 1), bool)
    ended[-1] = True
    (episode,) = tracker.add(rewards, ended, np.ones((1001, 1), bool))
    assert episode.episode_return == 2.0**25 + 250


def test_nothing_counts_until_every_environment_has_a_result():
    window = EpisodeWindow(3)
    window.add(episodes((0, 1), (0, 2), (1, 3)))
    summary = window.summary()
    assert math.isnan(summary["episode_reward_mean"])
    assert math.isnan(summary["episode_len_mean"])
    assert summary["episodes_total"] == 3
    window.add(episodes((2, 10)))
    assert window.summary() == {
        "episode_reward_mean": 4.0,
        "episode_reward_min": 1.0,
        "episode_reward_max": 10.0,
        "episode_len_mean": 4.0,
        "episodes_total": 4,
        "policy_reward_mean": {"default_policy": 4.0},
    }


def test_the_mean_is_over_the_last_hundred():
    window = EpisodeWindow(1)
    window.add(episodes(*((0, i) for i in range(250))))
    assert window.summary()["episode_reward_mean"] == pytest.approx(199.5)
    assert window.summary()["episodes_total"] == 250


def test_an_environment_that_never_ends_does_not_hold_back_the_others_for_ever():
    window = EpisodeWindow(2, size=5)
    window.add(episodes(*((0, 1) for _ in range(7))))
    assert math.isnan(window.summary()["episode_reward_mean"])
    window.add(episodes((0, 1)))
    assert window.summary()["episode_reward_mean"] == 1.0


def test_only_environments_that_the_filter_lets_through_are_averaged():
    window = EpisodeWindow(4, env_filter=lambda i: i >= 2)
    window.add(episodes((0, 100), (2, 1), (1, 100), (3, 3)))
    assert window.summary()["episode_reward_mean"] == 2.0
    assert window.summary()["episodes_total"] == 4
    assert window.mean_of_all() == 51.0
    again = EpisodeWindow(4, env_filter=lambda i: i >= 2)
    again.load_state_dict(window.state_dict())
    assert again.mean_of_all() == 51.0


def test_a_window_goes_through_json_and_goes_on():
    window = EpisodeWindow(2, size=3)
    window.add(episodes((0, 1)))
    waiting = EpisodeWindow(2, size=3)
    waiting.load_state_dict(json.loads(json.dumps(window.state_dict())))
    waiting.add(episodes((1, 3)))
    assert waiting.summary()["episode_reward_mean"] == 2.0
    again = EpisodeWindow(2, size=3)
    again.load_state_dict(json.loads(json.dumps(waiting.state_dict())))
    assert again.summary() == waiting.summary()


def test_a_window_restored_with_fewer_environments_waits_for_those_that_are_left():
    window = EpisodeWindow(2)
    window.add(episodes((0, 1)))
    smaller = EpisodeWindow(1)
    smaller.load_state_dict(window.state_dict())
    assert smaller.summary()["episode_reward_mean"] == 1.0


def test_several_policies_are_named_before_their_first_episode() -> None:
    window = EpisodeWindow(2, policies=["p0", "p1"])
    means = window.summary()["policy_reward_mean"]
    assert set(means) == {"p0", "p1"} and all(map(math.isnan, means.values()))
