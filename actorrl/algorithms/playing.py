"""Episodes that the driver plays: evaluations, films, RLlib's `rollout`. Nothing is learned."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from actorrl.algorithms import multi_agent, policy_checkpoint
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.restoring import about, checked_to_play, config_of, read_fitting
from actorrl.algorithms.setup import acting_policy
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.fragment import Episode
from actorrl.envs.check import EnvInfo
from actorrl.envs.film import INSTALL, Filmed, missing
from actorrl.errors import ConfigError
from actorrl.paths import expanded, made
from actorrl.policies.base import Policy
from actorrl.policies.policy_map import PolicyMap
from actorrl.roles.stage import Stage
from actorrl.rollouts import evaluation

EVALUATION_SEED = 20_000
_EVALUATION_ENVS = 20
_LONGEST_FILM = 5_000  # env steps: an environment need not end
_MOST_FILMS = 3  # of an evaluation


def play_episodes(
    config: AlgorithmConfig, info: EnvInfo, policy: Any, episodes: int, explore: bool
) -> dict[str, Any]:
    """Whole episodes on fixed seeds: the same weights give the same numbers."""
    stage, num_envs = stage_of(config, info), min(episodes, _EVALUATION_ENVS)
    vector = stage.vector(num_envs, EVALUATION_SEED)
    try:
        collector = stage.collector(vector, policy, evaluation.ROWS, explore)
        return evaluation.summary(evaluation.play_on(collector, vector.num_envs, episodes))
    finally:
        vector.close()


def play_steps(
    config: AlgorithmConfig, info: EnvInfo, policy: Any, steps: int, explore: bool
) -> dict[str, Any]:
    """So many env steps, one episode after the other; the last may be cut short."""
    stage = stage_of(config, info)
    played, _ = _roll_out(stage, policy, None, num_steps=steps, explore=explore)
    return evaluation.summary(played)


class FilmTitle(NamedTuple):
    """Films go to `folder/name-<number>.mp4`."""

    folder: Path
    name: str
    number: int = 1


def _roll_out(
    stage: Stage,
    policy: Any,
    num_episodes: int | None,
    *,
    num_steps: int | None = None,
    explore: bool = False,
    seed: int = EVALUATION_SEED,
    render_mode: str | None = None,
    title: FilmTitle | None = None,
) -> tuple[list[Episode], list[str]]:
    """Episodes of one environment, one after the other, and the films of them where there is a
    title. With `num_steps` the last one may be cut short. Raises EnvironmentFailure."""
    render_mode = render_mode if title is None else "rgb_array"
    vector: Any = stage.vector(1, seed, render_mode=render_mode)
    filmed = Filmed(vector, *title) if title is not None else None
    try:
        collector = stage.collector(filmed or vector, policy, 1, explore)
        played = evaluation.roll_out(collector, num_episodes, num_steps)
    finally:
        (filmed or vector).close()
    return played, filmed.paths if filmed is not None else []


def film(config: AlgorithmConfig, info: EnvInfo, policy: Any, title: FilmTitle) -> str:
    """One greedy episode, of the number's own seed; the path of its film."""
    stage, seed = stage_of(config, info, watched=False), EVALUATION_SEED + title.number - 1
    _, (path,) = _roll_out(stage, policy, 1, num_steps=_LONGEST_FILM, seed=seed, title=title)
    return path


def evaluate_checkpoint(
    path: str | Path,
    *,
    episodes: int,
    steps: int | None = None,
    explore: bool = False,
    env: Any = None,
    video: str | Path | None = None,
) -> dict[str, Any]:
    """Play with a checkpoint's policy, in this process alone. `steps`: so many env steps one after
    the other, in the place of `episodes`. `video`: a folder for films of the first episodes, played
    greedily; their paths are in the result, and what there is to notice."""
    config, info, policy = loaded(path, env)
    folder = film_folder("--video", video) if video is not None else None
    if steps is not None:
        result = play_steps(config, info, policy, steps, explore)
    else:
        result = play_episodes(config, info, policy, episodes, explore)
    result["notices"] = info.notices
    if folder is not None:
        titles = [
            FilmTitle(folder, Path(path).name, i + 1) for i in range(min(episodes, _MOST_FILMS))
        ]
        result["videos"] = [film(config, info, policy, title) for title in titles]
    return result


def rollout(
    agent: Any,
    env_name: Any = None,
    num_steps: int | None = None,
    num_episodes: int = 1,
    no_render: bool = False,
    video_dir: str | Path | None = None,
) -> list[float]:
    """RLlib's: play greedily with `agent`, an Algorithm or the path of a checkpoint, in its own
    environment or another one with the same spaces; the rewards of the episodes.

    It ends at `num_episodes` or `num_steps`, whichever is first: the last episode may be cut
    short. Rendered on the screen where there is one, else (or with `no_render`) not; films go into
    `video_dir`. Raises ConfigError, EnvironmentFailure."""
    if isinstance(agent, str | Path):
        config, info, policy = loaded(agent, env_name)
    else:
        config, info, policy = agent.config, agent.info, agent.newest_policy()
        if env_name is not None and env_name not in (config.env, info.name):
            config, info = _elsewhere(config, info, env_name)
    title = None
    if video_dir is not None:
        title = FilmTitle(film_folder("video_dir", video_dir), info.name.replace("/", "_"))
    played, _ = _roll_out(
        stage_of(config, info, watched=False),
        policy,
        num_episodes,
        num_steps=num_steps,
        render_mode="human" if not no_render and _has_screen() else None,
        title=title,
    )
    return [episode.episode_return for episode in played]


def film_folder(key: str, folder: str | Path) -> Path:
    """It is there when this returns. Raises ConfigError, also with what to install."""
    absent = missing()
    if absent is not None:
        raise ConfigError(
            f"{key}: needs {absent}, which is not installed; install it with: {INSTALL}"
        )
    return made(key, expanded(folder))


def _has_screen() -> bool:
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _elsewhere(
    config: AlgorithmConfig, trained: EnvInfo, env: Any
) -> tuple[AlgorithmConfig, EnvInfo]:
    """Another environment for the same policy."""
    config = config.copy().environment(env, env_config={})
    info = checked_to_play(config)
    for key in ("observation_space", "action_space"):
        here, there = getattr(info, key), getattr(trained, key)
        if str(here) != str(there):
            raise ConfigError(
                f"env: '{info.name}' has the {key} {here}, expected {there}, that of"
                f" '{trained.name}'"
            )
    return config, info


def loaded(path: str | Path, env: Any = None) -> tuple[AlgorithmConfig, EnvInfo, Any]:
    """The policy of a checkpoint, and where it acts."""
    config = config_of(path, env)
    info = checked_to_play(config)
    state = read_fitting(path, about(config, info, 0))
    policy = acting_policy(config, info, config.algorithm.make_policy)(0, config.greediest_env())
    policy.load_flat(state["learner"]["weights"], version=1)
    return config, info, policy


def policies_of_checkpoint(path: str | Path, env: Any = None) -> dict[str, Policy] | Policy:
    """By id, where there are several and where there is one; of a policy's own checkpoint that."""
    if policy_checkpoint.is_of_policy(path):
        return policy_checkpoint.load(path)
    _, _, policy = loaded(path, env)
    return dict(policy.policies) if isinstance(policy, PolicyMap) else {DEFAULT_POLICY: policy}


def stage_of(config: AlgorithmConfig, info: EnvInfo, watched: bool = True) -> Stage:
    """`watched`: by the user's callbacks, if there are any. A checkpoint names them by a path, and
    playing runs no code for that."""
    watching = config.callbacks_class if isinstance(config.callbacks_class, type) else None
    return Stage(
        info.env,
        config.env_config,
        multi_agent.mapping_of(config) if info.policies is not None else None,
        info.raw_spaces(),
        watching if watched else None,
    )
