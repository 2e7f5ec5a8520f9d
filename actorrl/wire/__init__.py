"""Bytes between processes. Knows no reward and starts no process.

Reading order: `messages` and `control_messages` (the vocabulary), `values` (plain Python values to
bytes), `frames` (a message to ZeroMQ frames and back; `compression`), `shared_memory` (who hands
out what a host shares) with `slabs` (what is in flight) and `blocks` (the newest version of
something), `sockets` (every ZeroMQ option; `keys`, `chunks`, `parts`), `doorkeeper` (who may come
in over TCP; `line_watch`, why a line is not up), `offences` (who talks nonsense), `endpoint` (one
process's door: an inbox, and a line to each peer) with `peers` (who lives where), `inside` the host
and `outside` of it, `lines` (what was dialled), `visitors` (who does not listen, and comes) and
`intake` (where all of it is waited for; `bell`).
"""
