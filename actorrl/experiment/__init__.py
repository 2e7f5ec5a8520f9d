"""Experiment: what a run leaves behind, and what it shows while it runs. It knows no algorithm.

Read in this order: result_keys.py (the names in a result row), run_folder.py (the folder and its
files), ownership.py with sign_of_life.py (one live driver per folder; which runs are alive),
status.py (what `actorrl status` prints), provenance.py (versions and git revision), state_files.py,
atomic_folder.py, state_tree.py and checkpoints.py (atomic, hashed, nothing pickled), results.py and
tensorboard.py (the rows), epochs.py (a learner that went on from an older state), stop.py (when a
run ends), estimate.py (how far it is), progress.py (the live table) with host_lines.py, pretty.py
(a row as text), upload.py (a copy of the folder elsewhere).

None of torch, gymnasium and zmq is imported here.
"""
