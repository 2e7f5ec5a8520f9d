"""The other libraries, each in an environment of its own: `setup` makes them, `peer` talks to them.

`requirements/NAME.txt` pins one environment; the scripts beside it run under its Python and import
nothing of ours.
"""
