"""Policies: a network, how it acts (NumPy in, NumPy out), and the forward that learners need.

Reading order: base.py (acting, RLlib's methods; what they are given: observed.py), learnable.py
(weights), actor_critic.py, q_policy.py, deterministic.py, sac.py, evolution.py, target.py (slow
copies), filtering.py (observations), previous.py (what an LSTM is told of its last action),
noise.py, exploration.py and q_explorers.py (how much at random), policy_map.py (several as one),
builder.py (one from a user's loss), model_catalog.py (RLlib's registry of models), export.py (a
network in a file).
"""
