"""Environments, always as vectors: found by name, made, checked, stepped. No torch.

Reading order: `registry.py` (what a name means), `vector.py` (the protocol, and how a vector is
made), `python_vector.py` (our own loop) with `old_form.py` (Gym's old interface) and `failure.py`
(an environment's own errors), `recreating.py` (one that failed is made anew), `native_vector.py`
(an environment's own vectoriser), `atari.py`; `multi_agent.py`, `base_env.py` and `pettingzoo.py`
(several agents). What is observed: `numbers.py` (what is refused), `preprocessors.py` and
`own_preprocessor.py`, `filters.py`, `previous.py` (the last action and reward), `plain_spaces.py`
(spaces in files). `check.py` is the driver's check before anything starts, `film.py` shows
episodes.
"""
