"""Environments, always as vectors: found by name, made, checked, stepped. No torch.

Reading order: `registry.py` (what a name means), `vector.py` (the protocol, and how a vector is
made), `python_vector.py` (our own loop), `native_vector.py` (an environment's own vectoriser),
`atari.py`, `preprocessors.py`, `check.py` (the driver's check before anything starts).
"""
