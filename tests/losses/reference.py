"""Slow, plain NumPy versions of the losses, written from the papers' formulas in float64.

T rows in time, B environments. An episode's stretch within one column is a run of valid rows that
ends at a termination or truncation, before an invalid row, or with the fragment.
"""

from __future__ import annotations

import numpy as np


def stretches(terminateds, truncateds, valid, b):
    """Lists of the consecutive rows of environment b that belong to one episode."""
    found, rows = [], []
    for t in range(len(valid)):
        if not valid[t, b]:
            found, rows = [*found, rows], []
            continue
        rows.append(t)
        if terminateds[t, b] or truncateds[t, b]:
            found, rows = [*found, rows], []
    return [rows for rows in [*found, rows] if rows]


def td_target(rewards, next_values, terminateds, t, b, gamma):
    return rewards[t, b] + (0.0 if terminateds[t, b] else gamma * next_values[t, b])


def vtrace(
    behaviour_logp,
    target_logp,
    rewards,
    values,
    next_values,
    terminateds,
    truncateds,
    valid,
    gamma,
    rho_bar,
    c_bar,
    pg_rho_bar,
    lambda_,
):
    """Espeholt et al. 2018, equation 1 as the sum of products that it is, row by row."""
    vs, advantages, rhos, bare = (np.zeros(rewards.shape) for _ in range(4))
    for b in range(rewards.shape[1]):
        for rows in stretches(terminateds, truncateds, valid, b):
            for s in rows:
                vs[s, b] = values[s, b]
                for t in [row for row in rows if row >= s]:
                    product = 1.0
                    for i in range(s, t):
                        ratio = np.exp(target_logp[i, b] - behaviour_logp[i, b])
                        product *= gamma * lambda_ * min(c_bar, ratio)
                    ratio = np.exp(target_logp[t, b] - behaviour_logp[t, b])
                    target = td_target(rewards, next_values, terminateds, t, b, gamma)
                    vs[s, b] += product * min(rho_bar, ratio) * (target - values[t, b])
            for s in rows:
                following = vs[s + 1, b] if s + 1 in rows else next_values[s, b]
                bootstrap = 0.0 if terminateds[s, b] else gamma * following
                rhos[s, b] = np.exp(target_logp[s, b] - behaviour_logp[s, b])
                bare[s, b] = rewards[s, b] + bootstrap - values[s, b]
                advantages[s, b] = min(pg_rho_bar, rhos[s, b]) * bare[s, b]
    return vs, advantages, rhos, bare


def lambda_returns(rewards, values, next_values, terminateds, truncateds, valid, gamma, lambda_):
    """Schulman et al. 2016, equation 16: A_t = sum over l of (gamma lambda)^l delta_t+l."""
    advantages, targets = np.zeros(rewards.shape), np.zeros(rewards.shape)
    for b in range(rewards.shape[1]):
        for rows in stretches(terminateds, truncateds, valid, b):
            for s in rows:
                for t in [row for row in rows if row >= s]:
                    target = td_target(rewards, next_values, terminateds, t, b, gamma)
                    advantages[s, b] += (gamma * lambda_) ** (t - s) * (target - values[t, b])
                targets[s, b] = advantages[s, b] + values[s, b]
    return advantages, targets


def actor_critic_loss(
    logits, values, actions, advantages, targets, valid, vf_loss_coeff, entropy_coeff
):
    """-log pi(a) A + vf/2 (V - target)^2 - beta H, the mean over valid rows, one by one."""
    parts = {"policy": 0.0, "value": 0.0, "entropy": 0.0}
    for t, b in zip(*np.nonzero(valid), strict=True):
        p = np.exp(logits[t, b]) / np.exp(logits[t, b]).sum()
        parts["policy"] -= np.log(p[actions[t, b]]) * advantages[t, b]
        parts["value"] += 0.5 * (values[t, b] - targets[t, b]) ** 2
        parts["entropy"] -= sum(x * np.log(x) for x in p)
    parts = {name: x / valid.sum() for name, x in parts.items()}
    total = parts["policy"] + vf_loss_coeff * parts["value"] - entropy_coeff * parts["entropy"]
    return total, parts


def double_q_td(q_tm1, actions, rewards_n, discounts, q_next_online, q_next_target, double):
    td = np.zeros(len(actions))
    for i, action in enumerate(actions):
        best = np.argmax(q_next_online[i] if double else q_next_target[i])
        td[i] = rewards_n[i] + discounts[i] * q_next_target[i, best] - q_tm1[i, action]
    return td


def random_fragment(seed, T, B, next_step=True, end_probability=0.15):
    """[T, B] columns with ends of both kinds; under NEXT_STEP the row after an end is not valid.

    `next_values[t]` is `values[t+1]` except behind ends under SAME_STEP, as learners have it.
    """
    random = np.random.default_rng(seed)
    terminateds = random.random((T, B)) < end_probability
    truncateds = random.random((T, B)) < end_probability  # both at once now and then
    valid = np.ones((T, B), bool)
    if next_step:
        for b in range(B):
            valid[0, b] = random.random() < 0.8
            for t in range(1, T):
                valid[t, b] = not (valid[t - 1, b] and (terminateds | truncateds)[t - 1, b])
        terminateds &= valid
        truncateds &= valid
    values = random.normal(size=(T + 1, B))
    next_values = values[1:].copy()
    if not next_step:
        ends = terminateds | truncateds
        next_values[ends] = random.normal(size=ends.sum())
    return {
        "rewards": random.normal(size=(T, B)) * valid,
        "values": values[:-1],
        "next_values": next_values,
        "terminateds": terminateds,
        "truncateds": truncateds,
        "valid": valid,
    }


def ppo_loss(
    logp,
    old_logp,
    entropy,
    kl,
    values,
    old_values,
    advantages,
    targets,
    valid,
    clip_param,
    vf_clip_param,
    vf_loss_coeff,
    entropy_coeff,
    kl_coeff,
):
    """Schulman et al. 2017, equations 7 to 9, over the valid rows one by one."""
    parts = {"policy_loss": 0.0, "vf_loss": 0.0, "entropy": 0.0, "kl": 0.0}
    rows = list(zip(*np.nonzero(valid), strict=True))
    for row in rows:
        ratio = np.exp(logp[row]) / np.exp(old_logp[row])
        if ratio > 1 + clip_param:
            bounded = 1 + clip_param
        elif ratio < 1 - clip_param:
            bounded = 1 - clip_param
        else:
            bounded = ratio
        parts["policy_loss"] -= min(ratio * advantages[row], bounded * advantages[row]) / len(rows)
        error = (values[row] - targets[row]) ** 2
        if vf_clip_param is not None:
            moved = values[row] - old_values[row]
            moved = min(max(moved, -vf_clip_param), vf_clip_param)
            error = max(error, (old_values[row] + moved - targets[row]) ** 2)
        parts["vf_loss"] += 0.5 * error / len(rows)
        parts["entropy"] += entropy[row] / len(rows)
        parts["kl"] += kl[row] / len(rows)
    total = (
        parts["policy_loss"]
        + vf_loss_coeff * parts["vf_loss"]
        - entropy_coeff * parts["entropy"]
        + kl_coeff * parts["kl"]
    )
    return total, parts
