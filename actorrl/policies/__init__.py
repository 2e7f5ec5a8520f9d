"""Policies: a network, how it acts (NumPy in, NumPy out), and the forward that learners need.

Reading order: base.py (weights, RLlib's methods), actor_critic.py, q_policy.py, deterministic.py,
sac.py, target.py (slow copies), noise.py and exploration.py (how much at random).
"""
