"""Losses: pure functions of tensors; shapes are asserted in their first lines.

Reading order: recursion.py (the one backward loop), returns.py (lambda-returns), vtrace.py,
policy_gradient.py, ppo.py, q_learning.py, distributional.py, continuous_q.py, evolution.py.

Every [T, B] function takes `valid`: rows where it is False are no decisions. They enter no sum,
no recursion crosses them, and whatever numbers they hold (NaN included) reach no result.
"""
