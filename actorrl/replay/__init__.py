"""Replay: what a shard, or an algorithm with a local buffer, remembers. NumPy only.

Read in this order: sum_tree.py (sampling in proportion to priorities), frame_store.py (single
frames, each kept once), rows.py (the ring of transitions, and its eviction together with the
frames), uniform.py and prioritized.py (the two buffers), buffer.py (which of them a run has),
weights.py (importance weights over all shards), limiter.py (samples per insert), footprint.py (how
much memory it will take).

Nothing here knows processes, sockets or torch. One thread at a time may use a buffer.
"""
