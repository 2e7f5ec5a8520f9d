"""What is learned: one file per algorithm, in the same reading order.

Reading order: `config` (the settings that all share), `base` (Algorithm: build, train, save,
restore, evaluate), `registry` (names); then any algorithm: docstring, Config, policy, postprocess,
update, program.
"""
