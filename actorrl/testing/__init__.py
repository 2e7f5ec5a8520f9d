"""Public helpers for testing environments, policies and algorithms: things with known answers.

`probe_envs.py` has environments whose values can be computed by hand.
"""
