from __future__ import annotations

import pytest

from actorrl.models import registry
from actorrl.models.model_config import ModelConfig
from actorrl.policies.model_catalog import ModelCatalog
from tests.policies.custom_models import Plain, Recurrent

PATH = "tests.policies.custom_models:Plain"


@pytest.fixture(autouse=True)
def own_names(monkeypatch):
    names = {setting: {} for setting in ("custom_model", "custom_action_dist")}
    monkeypatch.setattr(registry, "_registered", names)


def resolved(value):
    config = ModelConfig(custom_model=value)
    return registry.resolve(config), config.custom_model


def test_names_classes_and_import_paths_become_classes():
    ModelCatalog.register_custom_model("mine", Plain)
    for value in ("mine", Plain, PATH, PATH.replace(":", ".")):
        assert resolved(value) == ([], Plain)
    assert resolved(None) == ([], None)


def test_an_unknown_name_is_answered_with_the_nearest():
    ModelCatalog.register_custom_model("my_model", Plain)
    (line,), value = resolved("my_modle")
    assert line.startswith("custom_model: 'my_modle' is not registered, did you mean 'my_model'?")
    assert value == "my_modle"


def test_a_class_of_a_script_is_found_once_it_is_registered():
    (line,), _ = resolved("__main__:CustomModel")
    assert line == (
        "custom_model: the class CustomModel (of __main__) cannot be imported here (module"
        " '__main__' has no attribute 'CustomModel'), expected it to be registered:"
        " ModelCatalog.register_custom_model('CustomModel', CustomModel)"
    )
    cls = type("CustomModel", (Plain,), {"__module__": "elsewhere"})
    ModelCatalog.register_custom_model("any name", cls)
    assert resolved("__main__:CustomModel") == ([], cls)


def test_the_exact_path_wins_over_the_same_name_elsewhere():
    other = type("Recurrent", (Plain,), {"__module__": "elsewhere", "__qualname__": "Recurrent"})
    ModelCatalog.register_custom_model("other", other)
    assert resolved("tests.policies.custom_models:Recurrent") == ([], Recurrent)


def test_only_classes_can_be_registered():
    with pytest.raises(TypeError, match="register_custom_model takes a name and a class"):
        ModelCatalog.register_custom_model("mine", lambda: None)
