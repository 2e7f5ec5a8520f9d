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


def critic_loss(values, targets, weights):
    """Sum over critics of 1/n sum w (q - y)^2 / 2, and the mean over critics of |q - y|."""
    total, errors = 0.0, np.zeros(len(targets))
    for n, target in enumerate(targets):
        for value in values:
            total += 0.5 * weights[n] * (value[n] - target) ** 2 / len(targets)
            errors[n] += abs(value[n] - target) / len(values)
    return total, errors


def bootstrapped(rewards_n, discounts, next_values):
    return np.array(
        [
            r if discount == 0 else r + discount * v
            for r, discount, v in zip(rewards_n, discounts, next_values, strict=True)
        ]
    )


def soft_value_discrete(values, logits, alpha):
    out = np.zeros(len(logits))
    for n, row in enumerate(logits):
        p = softmax(row)
        for a in range(len(row)):
            out[n] += p[a] * (min(value[n, a] for value in values) - alpha * np.log(p[a]))
    return out


def squashed_log_prob(mean, log_std, u):
    """Haarnoja et al. 2018, appendix C, in float64: log N(u) - sum log(1 - tanh(u)^2)."""
    gaussian = -0.5 * ((u - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
    return (gaussian - np.log(1 - np.tanh(u) ** 2)).sum(-1)


def adam(weights, gradients, lr, eps=1e-5):
    """Kingma & Ba 2015, algorithm 1, over a list of gradients one after another."""
    m, v = np.zeros_like(weights), np.zeros_like(weights)
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        weights = weights - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + eps)
    return weights
