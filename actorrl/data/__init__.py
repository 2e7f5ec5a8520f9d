"""What travels and what users see, as plain NumPy: no torch, no gymnasium, no sockets.

Reading order: `columns.py` (names and layouts), `fragment.py` (what a worker sends), `allocate.py`
(where its arrays lie), `frame_stack.py` (stacks from frames that are stored once),
`sample_batch.py` (the flat view that users of RLlib know) with `flattening.py` (how fragments
become flat).
"""
