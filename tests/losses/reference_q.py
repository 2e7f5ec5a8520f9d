"""Slow, plain NumPy versions of the losses of Q-learning and its kin, from the papers' formulas.

N rows, A actions, Z atoms.
"""

from __future__ import annotations

import numpy as np


def project(probabilities, rewards_n, discounts, support):
    """Bellemare et al. 2017, equation 7: the mass of each moved atom to its two neighbours, by the
    triangle around each atom of the support."""
    spacing = support[1] - support[0]
    out = np.zeros(probabilities.shape)
    for n in range(len(rewards_n)):
        for j, z in enumerate(support):
            moved = min(max(rewards_n[n] + discounts[n] * z, support[0]), support[-1])
            for i, here in enumerate(support):
                share = min(max(1 - abs(moved - here) / spacing, 0.0), 1.0)
                out[n, i] += share * probabilities[n, j]
    return out


def categorical_td(logits, actions, rewards_n, discounts, q_chooser, logits_next, support):
    """sum m log(m / p) of each row, with 0 log 0 = 0."""
    out = np.zeros(len(actions))
    best = [int(np.argmax(q)) for q in q_chooser]
    following = np.stack([softmax(logits_next[n, a]) for n, a in enumerate(best)])
    target = project(following, rewards_n, discounts, support)
    for n, action in enumerate(actions):
        predicted = softmax(logits[n, action])
        for m, p in zip(target[n], predicted, strict=True):
            out[n] += m * np.log(m / p) if m > 0 else 0.0
    return out


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()
