"""What the `env` setting means: a registered name, a Gymnasium id, a class, a path, a function."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from actorrl import import_paths
from actorrl.config import did_you_mean
from actorrl.errors import ConfigError, how_to_install

Creator = Callable[..., gym.Env]


class EnvContext(dict[str, Any]):
    """The `env_config` that an environment's creator gets, with its place in the run (RLlib's).

    `worker_index` counts from 1 in rollout workers, 0 is the driver; `vector_index` is the
    environment's number within its worker.
    """

    def __init__(
        self,
        env_config: Mapping[str, Any] | None = None,
        worker_index: int = 0,
        vector_index: int = 0,
        remote: bool = False,
        num_workers: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(env_config or {})
        self.worker_index = worker_index
        self.vector_index = vector_index
        self.remote = remote
        self.num_workers = num_workers
        self.render_mode = render_mode  # what the environment is to be rendered for, if at all


class OfSpec:
    """An id that some package or script has registered, as a value: workers know it not."""

    def __init__(self, spec: EnvSpec, module: str = "") -> None:
        """`module` is the one that registers it, where that is known."""
        self._spec = spec
        self._module = module

    @property
    def spec(self) -> EnvSpec:
        if self._module:  # the environment may make another of its ids
            importlib.import_module(self._module)
        return self._spec


EnvLike = str | OfSpec | Creator  # a class is a creator, too


class Resolved(NamedTuple):
    """An environment that exists: what `make_vector` takes, its name, and what changed."""

    env: EnvLike  # a Gymnasium id, or what other processes need as a value
    name: str
    notice: str | None


_creators: dict[str, Creator] = {}


def register_env(name: str, creator: Creator) -> None:
    """Make `name` usable as `env`; `creator(env_context)` returns a Gymnasium environment.

    Only this process knows the name: `resolve` turns it into the creator, which the driver ships.
    """
    if not isinstance(name, str) or not callable(creator):
        raise TypeError("register_env takes a name and a function of an EnvContext")
    _creators[name] = creator


def registered(name: str) -> Creator | None:
    return _creators.get(name)


def resolve(env: EnvLike) -> Resolved:
    """Find `env`, without making it. Raises ConfigError, as one line `env: ...`."""
    if not isinstance(env, str):
        return _resolve_creator(env)
    creator = registered(env)
    if creator is not None:
        return Resolved(creator, env, None)
    module_name, colon, name = env.partition(":")
    if colon and import_paths.is_versioned(name):
        _import(module_name)  # Gymnasium's "module:Env-v0": the module registers the id
        found = resolve(name)
        if not isinstance(found.env, OfSpec):
            return found
        return found._replace(env=OfSpec(found.env.spec, module_name))
    if colon or _DOTTED.fullmatch(env):
        return Resolved(_import_path(env), env, None)
    env_id, notice = successor(env)
    if not known(env_id):
        hint = did_you_mean(env, _names()) or (
            ", expected a name that `actorrl list envs` has, one given to register_env, or"
            " package.module:Class"
        )
        raise ConfigError(f"env: unknown environment '{env}'{hint}")
    is_everywhere = env_id in _OWN or env_id.startswith(tuple(_PLUGINS))
    return Resolved(env_id if is_everywhere else OfSpec(gym.spec(env_id)), env_id, notice)


def successor(env_id: str) -> tuple[str, str | None]:
    """The id to use for an old one, and a sentence about it: CartPole-v0, PongDeterministic-v4.

    Raises ConfigError for an Atari id where ale-py is not installed.
    """
    new_id = _successor(env_id)
    if new_id == env_id:
        return env_id, None
    return new_id, f"'{env_id}' runs as its successor '{new_id}'"


def known(env_id: str) -> bool:
    """Is this a Gymnasium id? Imports the package that registers it where we know that package."""
    import_plugin(env_id)
    return env_id in gym.registry


def import_plugin(env_id: str) -> None:
    """Import the package that registers ids of this namespace ("ALE/...").

    Raises ConfigError with the install line where it is missing. Gymnasium >= 1.0 imports none.
    """
    for namespace, (module_name, extra) in _PLUGINS.items():
        if not env_id.startswith(namespace):
            continue
        if importlib.util.find_spec(module_name) is None:
            install = how_to_install(extra)
            raise ConfigError(f"env: '{env_id}' needs {module_name}, install it with: {install}")
        importlib.import_module(module_name)


def reward_threshold(env: EnvLike) -> float | None:
    """The mean return at which the environment counts as solved, where its spec has one."""
    if not isinstance(env, str) or not known(env):
        return None
    return gym.spec(env).reward_threshold


def make_env(env: EnvLike, context: EnvContext) -> gym.Env:
    """One environment. `env` is what `resolve` returned; called where the environment will live."""
    if isinstance(env, str):
        env = registered(env) or env
    if isinstance(env, str | OfSpec):
        return _registered_env(env, context)
    made = env(context) if _takes_context(env) else env(**context)
    if context.render_mode is not None:
        _have_rendered(made, context.render_mode)
    return made


def _registered_env(env: str | OfSpec, context: EnvContext) -> gym.Env:
    if isinstance(env, str):
        import_plugin(env)
    rendered = {"render_mode": context.render_mode} if context.render_mode else {}
    # The checker would inspect each step again; `check_env` has done so once.
    return gym.make(
        env if isinstance(env, str) else env.spec,
        disable_env_checker=True,
        **{**rendered, **context},
    )


def _have_rendered(env: Any, mode: str) -> None:
    """Creators take no render_mode: set on an environment that knows it and was given none."""
    bare = getattr(env, "unwrapped", env)
    known_modes = getattr(bare, "metadata", {}).get("render_modes", ())
    if getattr(bare, "render_mode", None) is None and mode in known_modes:
        bare.render_mode = mode


def _takes_context(creator: Creator) -> bool:
    """RLlib's creators take one EnvContext, Gymnasium's classes take keywords, if anything.

    A first parameter that is required, or named like a config, is for the EnvContext.
    """
    try:
        parameters = list(inspect.signature(creator).parameters.values())
    except (TypeError, ValueError):  # a builtin: nothing to see
        return True
    if not parameters:
        return False
    first = parameters[0]
    if first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD, first.VAR_POSITIONAL):
        return False
    if first.kind is first.VAR_POSITIONAL:
        return not inspect.isclass(creator)
    return first.default is first.empty or first.name in _CONTEXT_NAMES


_CONTEXT_NAMES = frozenset({"config", "cfg", "env_config", "context", "env_context", "ctx"})
_PLUGINS = {"ALE/": ("ale_py", "atari")}
# Ids that every process knows. Read, since who was imported before us may have registered more; one
# that is not found here travels as a value, which does no harm.
_OWN = frozenset(re.findall(r'id="([^"]+)"', inspect.getsource(gym.envs)))
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_ATARI = re.compile(r"(?P<game>[A-Z]\w*?)(?P<kind>NoFrameskip|Deterministic)?-v[0-5]")
_MUJOCO = re.compile(
    r"(Ant|HalfCheetah|Hopper|Humanoid|HumanoidStandup|InvertedDoublePendulum|InvertedPendulum|"
    r"Pusher|Reacher|Swimmer|Walker2d)-v[1-3]"
)
_SUCCESSORS = {"CartPole-v0": "CartPole-v1", "Pendulum-v0": "Pendulum-v1"}


def _successor(env_id: str) -> str:
    if env_id in _SUCCESSORS:
        return _SUCCESSORS[env_id]
    if _MUJOCO.fullmatch(env_id):
        return import_paths.VERSION.sub("-v5", env_id)
    return _atari_successor(env_id) or _newest_version(env_id)


def _atari_successor(env_id: str) -> str | None:
    """ALE/Pong-v5 for PongNoFrameskip-v4 and its like. Other ids are left alone."""
    match = _ATARI.fullmatch(env_id)
    if match is None:
        return None
    new_id = f"ALE/{match['game']}-v5"
    if match["kind"]:
        import_plugin(new_id)  # surely Atari: say what is missing
    elif importlib.util.find_spec("ale_py") is not None:
        import_plugin(new_id)
    return new_id if new_id in gym.registry else None


def _newest_version(env_id: str) -> str:
    """A newer registered version of an id that Gymnasium has dropped, else the id as it is."""
    match = re.fullmatch(r"(?P<name>.+)-v(?P<version>\d+)", env_id)
    if match is None or env_id in gym.registry:
        return env_id
    versions = [
        int(spec.version)
        for spec in gym.registry.values()
        if spec.version is not None and spec.id == f"{match['name']}-v{spec.version}"
    ]
    newer = [version for version in versions if version > int(match["version"])]
    return f"{match['name']}-v{max(newer)}" if newer else env_id


def _names() -> list[str]:
    return [*_creators, *gym.registry]


def _resolve_creator(env: Any) -> Resolved:
    if not callable(env):
        raise ConfigError(
            f"env: {env!r} is no environment, accepted are a name, a class, 'package.module:Class' "
            "or a function of an EnvContext"
        )
    return Resolved(env, getattr(env, "__name__", type(env).__name__), None)


def _import_path(path: str) -> Creator:
    """The class or function behind "pkg.mod:Class" or "pkg.mod.Class"."""
    module_name, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    module = _import(module_name)
    found = getattr(module, name, None)
    if found is None:
        names = [word for word in vars(module) if not word.startswith("_")]
        raise ConfigError(f"env: '{module_name}' has no '{name}'{did_you_mean(name, names)}")
    if not callable(found):
        raise ConfigError(
            f"env: '{path}' is a {type(found).__name__}, accepted are classes and functions"
        )
    creator: Creator = found
    return creator


def _import(module_name: str) -> Any:
    try:
        return import_paths.module_of(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"env: cannot import '{module_name}': {error}") from error
