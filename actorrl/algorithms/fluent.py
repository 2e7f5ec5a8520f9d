"""RLlib's ways to say settings: fluent methods, dicts within dicts. None is defined here.

Which method a setting is given to does not matter, only its name does. What RLlib has and actorrl
does not is refused with what to do instead; what changes nothing here is accepted.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import msgspec

from actorrl.algorithms.foreign_settings import FIXED, NO_EFFECT
from actorrl.algorithms.spellings import MEANT, OLD, flattened
from actorrl.config import Config, apply, shown, unshared
from actorrl.errors import ConfigError
from actorrl.rollouts.callbacks import DefaultCallbacks, of_functions

if TYPE_CHECKING:
    from actorrl.algorithms.base import Algorithm


class _ByAlgorithm(msgspec.StructMeta):
    """`AlgorithmConfig(PPO)`, RLlib's way to begin, is a PPOConfig(); of an algorithm derived from
    PPO it is one that builds that."""

    def __call__(cls, *values: Any, **settings: Any) -> Any:
        """msgspec copies by giving the values of all fields."""
        algorithm = settings.pop("algo_class", values[0] if len(values) == 1 else None)
        if algorithm is None:
            return super().__call__(*values, **settings)
        own = getattr(algorithm, "config_class", None)
        if not (isinstance(own, type) and issubclass(own, cls)):
            raise ConfigError(
                f"algo_class: {algorithm!r} is not accepted, expected an algorithm whose settings"
                f" are {cls.__name__}"
            )
        config: Any = own(**settings)
        config.__dict__["algorithm"] = algorithm
        return config


class FluentConfig(Config, dict=True, metaclass=_ByAlgorithm):
    """Base of AlgorithmConfig. A config that a run was built from is frozen: `copy()` is not."""

    # Settings that the algorithm has no use for -> why.
    WITHOUT_EFFECT: ClassVar[dict[str, str]] = {}

    def environment(self, env: Any = None, **settings: Any) -> Self:
        if env is not None:
            settings["env"] = env
        return self._set(settings)

    def rollouts(self, **settings: Any) -> Self:
        return self._set(settings)

    def framework(self, framework: str = "torch", **settings: Any) -> Self:
        return self._set({"framework": framework, **settings})

    def callbacks(self, callbacks_class: Any = None, **functions: Any) -> Self:
        """A class derived from DefaultCallbacks, or its import path `module:Name`; or plain
        functions by the names of its methods."""
        self._set({"callbacks_class": callbacks_class})
        if functions:
            base = getattr(self, "callbacks_class", None) or DefaultCallbacks
            self._set({"callbacks_class": of_functions(base, functions)})
        return self

    env_runners = rollouts
    training = rollouts
    exploration = rollouts
    resources = rollouts
    evaluation = rollouts
    reporting = rollouts
    debugging = rollouts
    checkpointing = rollouts
    fault_tolerance = rollouts
    offline_data = rollouts
    multi_agent = rollouts
    python_environment = rollouts
    experimental = rollouts
    learners = rollouts
    rl_module = rollouts
    api_stack = rollouts

    def cluster(self, hosts: Any = None) -> Self:
        """Hosts to run on: the path of a cluster.yml or hostfile, `a:4,b:4`, or a ClusterSpec. The
        list is read and checked now."""
        return self._set({"hosts": hosts})

    def update_from_dict(self, settings: dict[str, Any]) -> Self:
        return self._set(settings)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        return cls().update_from_dict(settings)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, which `from_dict` takes. Spaces, functions, classes and policies
        are in it as they were given, for they have no plain form: params.json names them."""
        return _entries(self)

    def copy(self, copy_frozen: bool | None = None) -> Self:
        """An independent copy, not frozen unless that is asked for."""
        other = copy.copy(self)
        other.__dict__.clear()
        kept = {key: value for key, value in self.__dict__.items() if key != "frozen"}
        other.__dict__.update(kept)
        for name in self.__struct_fields__:
            # One level: what an environment's settings hold is the user's, as is.
            other.put(name, unshared(getattr(self, name)))
        if copy_frozen:
            other.freeze()
        return other

    def change(self, settings: Mapping[str, Any]) -> list[str]:
        """Set what is good; a line for each mistake, by the key as it was written."""
        if not isinstance(settings, Mapping):
            return [f"config: {shown(settings)} is not accepted, expected a mapping of settings"]
        settings = {str(key): value for key, value in settings.items()}
        is_whole = set(self.__struct_fields__) <= settings.keys()  # not each of them was said
        found, lines = flattened(settings, self.__struct_fields__)
        for written, key, value in found:
            known = self._field(key)
            if key in FIXED and not known:
                lines += _unless_fixed(written, value, FIXED[key])
            elif key in NO_EFFECT and not known:
                self.note(f"{written}: changes nothing here")
            else:
                wrong = apply(self, {key: value})
                lines += [f"{written}{line.removeprefix(key)}" for line in wrong]
                if not is_whole:
                    self.__dict__["given"] = (*self.__dict__.get("given", ()), *self._field(key))
                if key in MEANT and not wrong and any(map(self.is_given, self._field(key))):
                    self.note(f"{written}: {MEANT[key]}")
                if key in OLD and not wrong:
                    self.note(f"{written}: is called {self.ALIASES[key]} now")
        return lines

    def _field(self, key: str) -> list[str]:
        name = self.ALIASES.get(key, key)
        return [name] if name in self.__struct_fields__ else []

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing as the others stand -> why."""
        return self.WITHOUT_EFFECT

    def is_given(self, name: str) -> bool:
        """Whether somebody has said what this setting is, be it the default; of one within another
        (`model.free_log_std`), whether it is not the default."""
        head, _, inner = name.partition(".")
        if inner:
            own: bool = getattr(getattr(self, head), inner) != getattr(self._fresh(head), inner)
            return own
        return name in self.__dict__.get("given", ()) or getattr(self, name) != self._fresh(name)

    def _fresh(self, name: str) -> Any:
        """A setting's default."""
        default = type(self).__struct_defaults__[self.__struct_fields__.index(name)]
        return default.factory() if hasattr(default, "factory") else default

    @property
    def notices(self) -> list[str]:
        """What a user may want to know of the spellings that were used: shown when a run starts."""
        return list(self.__dict__.get("notices", ()))

    def note(self, notice: str) -> None:
        """One more, once."""
        self.__dict__["notices"] = list(dict.fromkeys([*self.notices, notice]))

    def _set(self, settings: Mapping[str, Any]) -> Self:
        errors = self.change(settings) + self.read_settings()
        if errors:
            raise ConfigError(errors)
        return self

    def read_settings(self) -> list[str]:
        """Called after settings have changed, to read what is still a path or text; what is wrong
        with it."""
        return []

    def build(self, env: Any = None, logger_creator: Any = None, **options: Any) -> Algorithm:
        """Start the run; see `Algorithm` for the options."""
        if env is not None:
            self.environment(env)
        if logger_creator is not None:
            options["logger_creator"] = logger_creator
        algorithm: Any = self.algorithm  # type: ignore[attr-defined]  # AlgorithmConfig's
        built: Algorithm = algorithm(self, **options)
        return built

    build_algo = build  # RLlib's newer name

    @staticmethod
    def overrides(**settings: Any) -> dict[str, Any]:
        """RLlib's: what a policy or evaluations have otherwise; checked where it is used."""
        return settings

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A setting by another of its spellings, as RLlib's scripts read them."""
            known = self.ALIASES.get(name)
            if known not in self.__struct_fields__:
                raise AttributeError(f"{type(self).__name__} has no setting {name!r}")
            return getattr(self, known)


def _entries(config: Config) -> dict[str, Any]:
    values = {name: unshared(getattr(config, name)) for name in config.__struct_fields__}
    return {n: _entries(x) if isinstance(x, Config) else x for n, x in values.items()}


def _unless_fixed(written: str, value: Any, accepted: tuple[Any, ...]) -> list[str]:
    if value is None or _caseless(value) in map(_caseless, accepted):
        return []
    return [f"{written}: {value!r} is not accepted, expected {accepted[0]!r}"]


def _caseless(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
