"""The runtime by itself, in a few lines each; the examples are run as tests.

Reading order: `counter` (an actor, and calling it), `pool` (several of them), `stream` (a link with
flow control), `restart` (a crash, and what is there afterwards).
"""
