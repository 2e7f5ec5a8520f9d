"""From environments to rows: stepping, episodes, and what is computed before a learner sees rows.

Reading order: `collector.py` (fragments), `episodes.py` (returns and their window),
`evaluation.py` (whole episodes), `advantages.py` (GAE), `postprocess.py` (n-step rows).
"""
