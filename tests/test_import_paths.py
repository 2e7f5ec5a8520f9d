import sys

import pytest

from actorrl.import_paths import found, imported


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
