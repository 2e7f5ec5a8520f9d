"""Each row of each episode once, with the sum of what came after it, however fragments cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorrl.data import columns as c
from actorrl.rollouts.whole_episodes import WholeEpisodes, returns_to_go
from actorrl.testing.probe_envs import reward_of
from tests.rollouts.random_episodes import GAMMA, LENGTHS, MODES, PROPERTY, ROWS


@PROPERTY
@given(lengths=LENGTHS, mode=st.sampled_from(MODES), rows=st.sampled_from(ROWS))
def test_rows_come_out_once_with_the_return_of_their_whole_episode(
    make_collector, lengths, mode, rows
):
    collector = make_collector(lengths, mode, rows)
    whole, seen = WholeEpisodes(GAMMA), {}
    while collector.num_steps_total < 60:
        given_out = whole.add(collector.collect())
        assert given_out[c.OBS].shape[1:] == (3,)
        np.testing.assert_array_equal(given_out[c.T], given_out[c.OBS][:, 2])
        for (env, episode, step), value in zip(
            given_out[c.OBS].astype(int).tolist(), given_out[c.ADVANTAGES], strict=True
        ):
            assert (env, episode, step) not in seen
            seen[env, episode, step] = value
    assert seen
    for (env, episode, step), value in seen.items():
        own = lengths[env]
        last = abs(own[episode % len(own)])
        steps = range(step + 1, last + 1)
        wanted = sum(GAMMA ** (s - step - 1) * reward_of(env, episode, s) for s in steps)
        assert value == pytest.approx(wanted, rel=1e-5)
        assert (env, episode, last - 1) in seen, "its episode is whole"


def test_rewards_are_clipped_before_they_are_summed(make_collector):
    columns = WholeEpisodes(1.0, clip_rewards=0.5).add(
        make_collector([[4]], "next_step", 5).collect()
    )
    np.testing.assert_allclose(columns[c.ADVANTAGES], [2.0, 1.5, 1.0, 0.5])


def test_returns_to_go_of_no_rows_are_none():
    assert returns_to_go(np.empty(0, np.float32), 0.9).shape == (0,)
