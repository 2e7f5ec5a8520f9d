"""known_hosts as OpenSSH reads it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from actorrl.errors import HostError
from actorrl.runtime.launchers.known_hosts import (
    KnownHosts,
    Verdict,
    fingerprint,
    known_as,
    trust,
)

KEY, OTHER = b"\0\0\0\x0bssh-ed25519 one", b"\0\0\0\x0bssh-ed25519 two"


def line(names: str, blob: bytes = KEY, marker: str = "") -> str:
    return f"{marker} {names} ssh-ed25519 {base64.b64encode(blob).decode()} comment\n".lstrip()


def hashed(name: str, salt: bytes = b"0123456789abcdefghij") -> str:
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


@pytest.fixture
def judge(tmp_path: Path):
    """judge(text of the file, name, blob) -> verdict"""

    def judge(text: str, name: str, blob: bytes = KEY) -> Verdict:
        (tmp_path / "known").write_text(text)
        return KnownHosts([str(tmp_path / "known")]).judge(name, blob).verdict

    return judge


@pytest.mark.parametrize(
    ("names", "name", "known"),
    [
        ("gpu1", "gpu1", True),
        ("GPU1", "gpu1", True),
        ("gpu1,10.0.0.1", "10.0.0.1", True),
        ("gpu1", "gpu10", False),
        ("[gpu1]:2222", "[gpu1]:2222", True),
        ("gpu1", "[gpu1]:2222", False),
        ("[gpu1]:2222", "gpu1", False),
        ("*.lab,!bad.lab", "gpu1.lab", True),
        ("*.lab,!bad.lab", "bad.lab", False),
        ("gpu?", "gpu1", True),
        (hashed("gpu1"), "gpu1", True),
        (hashed("[gpu1]:2222"), "[gpu1]:2222", True),
        (hashed("gpu2"), "gpu1", False),
    ],
)
def test_a_line_names_hosts_by_name_pattern_port_or_hash(judge, names, name, known):
    assert judge(line(names), name) is (Verdict.TRUSTED if known else Verdict.UNKNOWN)


def test_another_key_under_the_same_name_is_a_changed_one(judge, tmp_path):
    assert judge(line("a") + line("b", OTHER), "b") is Verdict.CHANGED
    found = KnownHosts([str(tmp_path / "known")]).judge("b", KEY)
    assert found.where == f"{tmp_path}/known:2"


def test_a_second_key_of_a_host_is_as_good_as_the_first(judge):
    assert judge(line("a", OTHER) + line("a"), "a") is Verdict.TRUSTED


def test_a_revoked_key_is_refused_wherever_else_it_is_trusted(judge):
    text = line("a") + line("*", KEY, marker="@revoked")
    assert judge(text, "a") is Verdict.REVOKED
    assert judge(text, "a", OTHER) is Verdict.CHANGED


def test_comments_authorities_and_broken_lines_say_nothing(judge):
    text = "# a\n\na\na ssh-rsa\na ssh-rsa !!!\n" + line("a", marker="@cert-authority")
    assert judge(text, "a") is Verdict.UNKNOWN


def test_files_that_are_missing_say_nothing(tmp_path):
    assert KnownHosts([str(tmp_path / "no")]).judge("a", KEY).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("host", "port", "alias", "name"),
    [
        ("Gpu1.Lab", 22, None, "gpu1.lab"),
        ("gpu1", 2222, None, "[gpu1]:2222"),
        ("gpu1", 2222, "Box", "box"),
        ("fe80::1", 22, None, "fe80::1"),
    ],
)
def test_a_host_is_known_by_alias_or_by_address_and_port(host, port, alias, name):
    assert known_as(host, port, alias) == name


def test_a_key_that_is_trusted_is_added_to_the_file_once_it_is_there_or_not(tmp_path):
    path = tmp_path / "new" / "known"
    trust(str(path), "a", "ssh-ed25519", KEY)
    path.write_text(path.read_text().rstrip("\n"))
    trust(str(path), "[b]:7", "ssh-ed25519", OTHER)
    known = KnownHosts([str(path)])
    assert known.judge("a", KEY).verdict is Verdict.TRUSTED
    assert known.judge("[b]:7", OTHER).verdict is Verdict.TRUSTED
    assert known.key_types("a") == ["ssh-ed25519"]
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "known").mkdir()
    with pytest.raises(HostError, match="known: cannot be written"):
        trust(str(tmp_path / "known"), "a", "ssh-ed25519", KEY)


def test_a_fingerprint_is_the_one_of_ssh_keygen():
    blob = base64.b64decode("AAAAC3NzaC1lZDI1NTE5AAAAIJ8jDLtvHKwWNzA3sDuBbsSl4qtKhbmpjHqVXbwCaYYS")
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    assert fingerprint(blob) == f"SHA256:{digest}"
