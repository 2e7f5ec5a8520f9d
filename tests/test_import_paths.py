import re
import sys

import pytest

from actorrl.algorithms.ppo import PPOConfig
from actorrl.envs.registry import resolve
from actorrl.errors import ConfigError
from actorrl.import_paths import found, imported
from actorrl.models import registry as models
from actorrl.models.model_config import ModelConfig


class Outer:
    class Inner:
        pass


def test_a_name_is_found_also_within_a_class_and_what_is_not_there_is_none():
    assert found(__name__, "Outer.Inner") is Outer.Inner
    assert found("json.decoder", "JSONDecoder").__name__ == "JSONDecoder"
    assert found("json", "nothing_of_the_kind") is None
    assert found("no_such_module_anywhere", "Thing") is None
    assert found("", "Thing") is None


def test_the_running_script_is_looked_into_and_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "__main__")
    assert found("__main__", "anything") is None


def test_a_path_that_cannot_be_imported_raises():
    assert imported("json:loads") is __import__("json").loads
    with pytest.raises(AttributeError):
        imported("json:nothing_of_the_kind")
    with pytest.raises(ImportError):
        imported("no_such_module_anywhere:Thing")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = nothing", r"NameError: .*wrong_module.py, line 1"),
        ("def", r"SyntaxError: .*line 1"),
        ("raise SystemExit(0)", r"SystemExit: 0 .*wrong_module.py, line 1"),
    ],
)
def test_what_a_module_raises_is_an_import_error_that_says_where(tmp_path, monkeypatch, text, why):
    (tmp_path / "wrong_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=f"wrong_module raises {why}"):
        imported("wrong_module:Thing")
    assert found("wrong_module", "Thing") is None
    for key, line in (
        ("callbacks", "callbacks: 'wrong_module:Thing' cannot be imported (wrong_module raises"),
        ("custom_eval_function", "custom_evaluation_function: 'wrong_module:Thing' cannot be imp"),
    ):
        with pytest.raises(ConfigError) as caught:
            PPOConfig.from_dict({key: "wrong_module:Thing"})
        assert str(caught.value).startswith(line)
    with pytest.raises(ConfigError, match=f"^env: cannot import 'wrong_module': .*{why}"):
        resolve("wrong_module:Thing")
    (line,) = models.resolve(ModelConfig(custom_model="wrong_module:Thing"))
    assert re.search(rf"Thing \(of wrong_module\) cannot be imported here \(.*{why}", line)
