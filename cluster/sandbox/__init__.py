"""Several SSH hosts on one machine, for the tests and for trying a cluster (scripts/sandbox).

plan.py (what is made), register.py (what there is), network.py, inside.py, files.py, then
loopback.py for machines without namespaces. Standard library only, and nothing of actorrl.
"""
