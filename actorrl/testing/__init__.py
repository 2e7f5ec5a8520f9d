"""Public helpers for testing environments, policies, algorithms and launchers.

`probe_envs.py` has environments whose values can be computed by hand; `conformance.py` has the
checks that every launcher of the runtime passes: `call_checks.py` and `link_checks.py`, with what
they share in `checking.py`.
"""
