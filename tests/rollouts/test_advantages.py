import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorrl.data import columns as c
from actorrl.rollouts.advantages import gae, next_values
from tests.rollouts.random_episodes import GAMMA, LENGTHS, MODES, PROPERTY, ROWS


def plain_gae(rewards, values, after, terminateds, truncateds, valid, gamma, lambda_):
    """The definition: a sum of discounted one-step errors up to the end or the last row."""
    advantages = np.zeros(rewards.shape)
    for t, b in np.argwhere(valid):
        factor = 1.0
        for u in range(t, len(rewards)):
            bootstrap = 0.0 if terminateds[u, b] else after[u, b]
            advantages[t, b] += factor * (rewards[u, b] + gamma * bootstrap - values[u, b])
            factor *= gamma * lambda_
            if terminateds[u, b] or truncateds[u, b]:
                break
    return advantages, np.where(valid, advantages + values, 0.0)


@PROPERTY
@given(lengths=LENGTHS, mode=st.sampled_from(MODES), rows=st.sampled_from(ROWS))
def test_gae_agrees_with_its_definition(make_collector, lengths, mode, rows):
    collector = make_collector(lengths, mode, rows)
    collector.collect()
    columns = collector.collect().columns
    random = np.random.default_rng(0)
    values = random.normal(size=(rows + 1, len(lengths)))
    finals = columns.get(c.FINAL_ROWS)
    after = next_values(values, finals, None if finals is None else random.normal(size=len(finals)))
    arguments = (columns[c.REWARDS], values[:-1], after, columns[c.TERMINATEDS])
    arguments += (columns[c.TRUNCATEDS], columns[c.VALID], 0.97, 0.9)
    for ours, expected in zip(gae(*arguments), plain_gae(*arguments), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("mode", MODES)
def test_values_of_rows_that_are_no_decision_reach_nothing(make_collector, rows, mode):
    collector = make_collector([[3, -2], [-1]], mode, rows)
    columns = collector.collect().columns
    values = np.ones((rows + 1, 2))
    spoiled = values.copy()
    valid = columns[c.VALID]
    # The value at such a row belongs to the final observation, so only a truncation may see it.
    spoiled[:-1][~valid] = np.nan
    spoiled_after = next_values(values)
    for own, after in ((values, next_values(values)), (spoiled, spoiled_after)):
        flags = (columns[c.TERMINATEDS], columns[c.TRUNCATEDS], valid)
        result = gae(columns[c.REWARDS], own[:-1], after, *flags, 0.9, 0.8)
        assert np.isfinite(result[0]).all() and np.isfinite(result[1]).all()
        assert (result[0][~valid] == 0).all() and (result[1][~valid] == 0).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("truncate", "answer"), [(True, 10.0), (False, 1 / 0.19)])
def test_one_step_targets_find_the_value_of_a_constant_reward(
    constant_reward_value, mode, rows, truncate, answer
):
    def targets(columns, value):
        values = np.full((rows + 1, 1), value)
        finals = columns.get(c.FINAL_ROWS)
        final_values = None if finals is None else np.full(len(finals), value)
        flags = (columns[c.TERMINATEDS], columns[c.TRUNCATEDS], columns[c.VALID])
        after = next_values(values, finals, final_values)
        found = gae(columns[c.REWARDS], values[:-1], after, *flags, GAMMA, 0.0)[1]
        return found.sum(dtype=np.float64), columns[c.VALID].sum()

    assert constant_reward_value(mode, truncate, rows, targets) == pytest.approx(answer, abs=1e-3)
