import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorrl.data import columns as c
from actorrl.rollouts.postprocess import NStep, gae, initial_priorities, next_values
from actorrl.testing.probe_envs import reward_of

MODES = ("next_step", "same_step")
ROWS = (1, 3, 10, 11, 64)
GAMMA = 0.9
LENGTHS = st.lists(
    st.lists(st.integers(1, 9).flatmap(lambda n: st.sampled_from([n, -n])), min_size=1, max_size=4),
    min_size=1,
    max_size=3,
)
PROPERTY = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


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


def test_after_a_reset_no_tail_of_another_run_is_joined(make_collector):
    n_step = NStep(3, GAMMA, 1)
    n_step.add(make_collector([[9]], "next_step", 4).collect().columns)
    n_step.reset()
    rows = n_step.add(make_collector([[9]], "next_step", 4).collect().columns)
    np.testing.assert_array_equal(rows[c.OBS][:, 2], [0, 1])


def constant_reward_value(mode, truncate, rows, make_targets):
    """Iterate v <- mean target; all observations are equal, so the value function is one number."""
    from actorrl.envs.vector import make_vector
    from actorrl.rollouts.collector import Act, Collector
    from actorrl.testing.probe_envs import ConstantReward

    class Still:
        version = 0

        def initial_state(self, num_envs):
            return ()

        def act(self, obs, state, explore):
            return Act(np.zeros(len(obs), np.int64), {}, ())

        def env_actions(self, actions):
            return actions

    # Ten environments, one decision apart, weigh the places in an episode equally.
    vector = make_vector(lambda _: ConstantReward(10, truncate), {}, 1, autoreset=mode)
    period = 11 if mode == "next_step" else 10
    collector = Collector(vector, Still(), rows)
    fragments = [collector.collect() for _ in range(period)]  # each place in turn, equally often
    value = 0.0
    for _ in range(200):
        targets = [make_targets(f.columns, value) for f in fragments]
        total, count = (sum(part) for part in zip(*targets, strict=True))
        value = total / count
    return value


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("truncate", "answer"), [(True, 10.0), (False, 1 / 0.19)])
def test_one_step_targets_find_the_value_of_a_constant_reward(mode, rows, truncate, answer):
    def targets(columns, value):
        values = np.full((rows + 1, 1), value)
        finals = columns.get(c.FINAL_ROWS)
        final_values = None if finals is None else np.full(len(finals), value)
        flags = (columns[c.TERMINATEDS], columns[c.TRUNCATEDS], columns[c.VALID])
        after = next_values(values, finals, final_values)
        found = gae(columns[c.REWARDS], values[:-1], after, *flags, GAMMA, 0.0)[1]
        return found.sum(dtype=np.float64), columns[c.VALID].sum()

    assert constant_reward_value(mode, truncate, rows, targets) == pytest.approx(answer, abs=1e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", ROWS)
def test_n_step_targets_find_the_value_under_truncation(mode, rows):
    n_step = NStep(3, GAMMA, 1)

    def targets(columns, value):
        found = n_step.add(columns)
        return (found[c.REWARDS] + found[c.DISCOUNTS] * value).sum(), len(found[c.REWARDS])

    assert constant_reward_value(mode, True, rows, targets) == pytest.approx(10.0, abs=1e-3)
