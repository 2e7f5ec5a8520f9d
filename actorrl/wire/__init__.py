"""Bytes between processes. Knows no reward and starts no process.

Reading order: `messages` (the vocabulary), `values` (plain Python values to bytes), `frames` (a
message to ZeroMQ frames and back), `shared_memory` (slabs, and who hands out what a host shares),
`blocks` (the newest version of something), `sockets` (every ZeroMQ option), `endpoint` (one
process's door: an inbox, and a line to each peer).
"""
