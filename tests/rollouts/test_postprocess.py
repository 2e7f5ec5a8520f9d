import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorrl.data import columns as c
from actorrl.rollouts.collector import Collector
from actorrl.rollouts.postprocess import NStep, initial_priorities, num_lead_in
from actorrl.testing.probe_envs import reward_of
from tests.rollouts.conftest import counting_vector
from tests.rollouts.random_episodes import GAMMA, LENGTHS, MODES, PROPERTY, ROWS


def decisions(env, lengths, number):
    """Slow and plain: (episode, step, length, truncated) of each decision of one environment."""
    found, episode = [], 0
    while len(found) < number:
        signed = lengths[episode % len(lengths)]
        found += [(episode, step, abs(signed), signed < 0) for step in range(abs(signed))]
        episode += 1
    return found[:number]


def expected_rows(env, lengths, number, n, clip=np.inf):
    """One n-step row per decision: first place, bootstrap place, return, discount."""
    rows = []
    for episode, step, length, truncated in decisions(env, lengths, number):
        m = min(n, length - step)
        rewards = [min(clip, reward_of(env, episode, step + i)) for i in range(1, m + 1)]
        total = sum(GAMMA**i * reward for i, reward in enumerate(rewards))
        terminated = step + m == length and not truncated
        discount = 0.0 if terminated else GAMMA**m
        rows.append(((env, episode, step), (env, episode, step + m), total, discount))
    return rows


def run(collector, n_step, total, q_of=None):
    """All n-step rows of at least `total` rows per environment, and its number of decisions."""
    parts, valid, done = [], [], 0
    while done < total:
        columns = dict(collector.collect().columns)
        if q_of is not None and c.FINAL_OBS in columns:
            columns[c.FINAL_Q_VALUES] = q_of(columns[c.FINAL_OBS])
        before = {name: column.copy() for name, column in columns.items()}
        parts.append(n_step.add(columns))
        for name, column in before.items():
            np.testing.assert_array_equal(column, columns[name], "a fragment is not to be changed")
        valid.append(columns[c.VALID])
        done += len(columns[c.VALID])
    return parts, np.concatenate(valid).sum(axis=0)


@PROPERTY
@given(
    lengths=LENGTHS,
    mode=st.sampled_from(MODES),
    rows=st.sampled_from(ROWS),
    n=st.integers(1, 5),
    with_q_values=st.booleans(),
)
def test_n_step_rows_are_all_there_in_order_and_never_span_an_end(
    make_collector, make_policy, q_of, lengths, mode, rows, n, with_q_values
):
    policy = make_policy(recurrent=False, with_q_values=with_q_values)
    collector = make_collector(lengths, mode, rows, policy)
    n_step = NStep(n, GAMMA, len(lengths), clip_rewards=5.0)
    parts, num_decisions = run(collector, n_step, 40, q_of if with_q_values else None)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for b, own in enumerate(lengths):
        mine = {name: column[joined[c.OBS][:, 0] == b] for name, column in joined.items()}
        number = len(mine[c.OBS])
        pending = num_decisions[b] - number
        assert 0 <= pending <= (n if with_q_values else n - 1)
        expected = expected_rows(b, own, int(num_decisions[b]), n, clip=5.0)[:number]
        np.testing.assert_array_equal(mine[c.OBS], [row[0] for row in expected])
        np.testing.assert_array_equal(mine[c.NEXT_OBS], [row[1] for row in expected])
        np.testing.assert_allclose(mine[c.REWARDS], [row[2] for row in expected], rtol=1e-6)
        np.testing.assert_allclose(mine[c.DISCOUNTS], [row[3] for row in expected], rtol=1e-6)
        np.testing.assert_array_equal(mine[c.ACTIONS], mine[c.OBS].sum(axis=1) % 2)
        if with_q_values:
            bootstraps = mine[c.DISCOUNTS] > 0
            np.testing.assert_array_equal(mine[c.Q_VALUES], q_of(mine[c.OBS]))
            after = np.where(bootstraps[:, None], q_of(mine[c.NEXT_OBS]), 0)
            np.testing.assert_array_equal(mine[c.NEXT_Q_VALUES], after)


@PROPERTY
@given(
    lengths=LENGTHS,
    mode=st.sampled_from(MODES),
    rows=st.sampled_from(ROWS),
    n=st.integers(1, 4),
    k=st.integers(2, 4),
)
def test_rows_that_name_frames_show_the_same_stacks_as_the_environment(
    make_collector, make_policy, lengths, mode, rows, n, k
):
    policy = make_policy(recurrent=False)
    collector = make_collector(lengths, mode, rows, policy, frames=True, frame_stack=k)
    n_step = NStep(n, GAMMA, len(lengths))
    parts, num_decisions = run(collector, n_step, 40)
    for b, own in enumerate(lengths):
        seen = 0
        expected = expected_rows(b, own, int(num_decisions[b]), n)
        for part in parts:
            obs = part[c.FRAMES][part[c.OBS_FRAMES]]  # [N, k, H, W]
            new_obs = part[c.FRAMES][part[c.NEXT_OBS_FRAMES]]
            mine = obs[:, -1, 0, 0] == b
            for stack, new_stack in zip(obs[mine], new_obs[mine], strict=True):
                first, last = expected[seen][:2]
                seen += 1
                np.testing.assert_array_equal(stack[:, 0], stack_places(first, k))
                np.testing.assert_array_equal(new_stack[:, 0], stack_places(last, k))
        assert int(num_decisions[b]) - (n - 1) <= seen


@pytest.mark.parametrize("with_q_values", [True, False])
def test_so_many_frames_of_each_fragment_come_again(make_collector, make_policy, with_q_values):
    policy = make_policy(recurrent=False, with_q_values=with_q_values)
    lengths = [[4, -2, 7], [1, -5]]
    collector = make_collector(lengths, "next_step", 3, policy, frames=True, frame_stack=4)
    n_step = NStep(3, GAMMA, 2)
    overlap = (4 + num_lead_in(3, with_q_values)) * 2
    before = n_step.add(collector.collect().columns)[c.FRAMES]
    for _ in range(5):
        after = n_step.add(collector.collect().columns)[c.FRAMES]
        assert len(after) == overlap + 3 * 2
        np.testing.assert_array_equal(after[:overlap], before[-overlap:])
        before = after


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("with_q_values", [True, False])
def test_frames_that_lead_in_give_the_same_rows_as_frames_carried_over(
    make_policy, rows, with_q_values
):
    lengths, n = [[4, -2, 7], [1, -5]], 3
    lead_in = num_lead_in(n, with_q_values)
    policies = [make_policy(recurrent=False, with_q_values=with_q_values) for _ in range(2)]
    vectors = [counting_vector(lengths, "next_step", True, 4) for _ in range(2)]
    plain = Collector(vectors[0], policies[0], rows)
    leading = Collector(vectors[1], policies[1], rows, num_lead_in=lead_in)
    carried, led = NStep(n, GAMMA, 2), NStep(n, GAMMA, 2)
    for number in range(9):
        fragment = leading.collect()
        expected = carried.add(plain.collect().columns)
        found = led.add(fragment.columns, fragment.led_frames)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], name)
        if number * rows >= lead_in:
            assert found[c.FRAMES].base is not None
            assert np.shares_memory(found[c.FRAMES], fragment.led_frames)


def stack_places(place, k):
    """The places in a stack, oldest first: an episode's first frame repeats."""
    env, episode, step = place
    return [(env, episode, max(0, step - back)) for back in range(k - 1, -1, -1)]


def test_priorities_are_the_td_errors_of_the_values_given():
    rows = {
        c.ACTIONS: np.array([1, 0]),
        c.REWARDS: np.array([1.0, -2.0], np.float32),
        c.DISCOUNTS: np.array([0.5, 0.0], np.float32),
        c.Q_VALUES: np.array([[9.0, 3.0], [1.0, 9.0]], np.float32),
        c.NEXT_Q_VALUES: np.array([[2.0, 8.0], [7.0, 7.0]], np.float32),
    }
    np.testing.assert_allclose(initial_priorities(rows), [2.0, 3.0])


def test_a_truncation_under_same_step_asks_for_the_values_of_its_final_observation(
    make_collector, make_policy
):
    policy = make_policy(recurrent=False, with_q_values=True)
    collector = make_collector([[-2]], "same_step", 5, policy)
    with pytest.raises(ValueError, match="final_q_values"):
        NStep(3, GAMMA, 1).add(collector.collect().columns)


# Three steps ahead from each of ten places: eight sums of three rewards, one of two, one of one;
# at seven places the value follows, discounted by .9^3.
AFTER_TERMINATION = (8 * 2.71 + 1.9 + 1.0) / 10 / (1 - 0.7 * 0.729)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("truncate", "answer"), [(True, 10.0), (False, AFTER_TERMINATION)])
def test_n_step_targets_find_the_value_of_a_constant_reward(
    constant_reward_value, mode, rows, truncate, answer
):
    n_step = NStep(3, GAMMA, 1)

    def targets(columns, value):
        found = n_step.add(columns)
        return (found[c.REWARDS] + found[c.DISCOUNTS] * value).sum(), len(found[c.REWARDS])

    assert constant_reward_value(mode, truncate, rows, targets) == pytest.approx(answer, abs=1e-3)
