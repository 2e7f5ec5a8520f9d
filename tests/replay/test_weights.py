"""Importance weights over shards against the paper's formula, written out."""

import numpy as np
import pytest

from actorrl.replay.weights import Mass, combine, importance_weights


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_weights_of_shards_equal_those_of_one_large_buffer(beta):
    rng = np.random.default_rng(0)
    shards = [rng.random(size) + 0.01 for size in (5, 17, 3)]
    everything = combine([Mass(s.sum(), len(s), s.min()) for s in shards])
    together = np.concatenate(shards)
    raw = (len(together) * together / together.sum()) ** -beta
    expected = np.split(raw / raw.max(), [5, 22])
    for shard, weights in zip(shards, expected, strict=True):
        found = importance_weights(shard / shard.sum(), shard.sum(), everything, beta)
        np.testing.assert_allclose(found, weights, rtol=1e-5)


def test_no_weight_exceeds_one_when_the_reported_minimum_is_old():
    weights = importance_weights(np.array([0.1, 0.9]), 1.0, Mass(1.0, 2, 0.5), 0.4)
    assert weights.max() == 1.0


def test_combining_nothing_gives_an_empty_mass():
    assert combine([]) == Mass(0, 0, float("inf"))
