"""From environments to rows: stepping, episodes, and what is computed before a learner sees rows.

Reading order: `collector.py` (fragments), `episodes.py` (returns and their window),
`postprocess.py` (GAE, n-step rows).
"""
