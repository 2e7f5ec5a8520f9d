"""The door: what a user types. One small file per command; heavy imports happen inside commands.

In reading order: `main` (the table of commands, errors to exit codes), `failures`, `options` and
`request` (from flags and files to settings: `settings_text`, `tuned_file`), `launch` and `resume`
over `run`, `training` (the loop of `train()`), `early_agent`, `interrupts` (Ctrl-C), `ending` (the
last lines). Commands that make no run: `evaluate`, `plan`, `check`, `hosts`, `listing` (`list`),
`config_table` (`config`; `rllib_defaults`), `doctor`. Of runs that are there, found by `live_run`:
`status`, `logs`, `top`, `stack`, `stop_run` (`stop`).
"""
