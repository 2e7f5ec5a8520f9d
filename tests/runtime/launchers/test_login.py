"""Which keys are tried, and what is said of those that cannot be."""

from __future__ import annotations

import base64
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from actorrl.errors import HostError
from actorrl.runtime.host_specs import SshSpec
from actorrl.runtime.launchers.login import find_keys, public_part

OPENSSH, PEM = serialization.PrivateFormat.OpenSSH, serialization.PrivateFormat.TraditionalOpenSSL


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def write_key(path: Path, form=OPENSSH, passphrase: bytes = b"") -> bytes:
    """A new private key; its public part."""
    key = ed25519.Ed25519PrivateKey.generate() if form is OPENSSH else rsa.generate_private_key(
        public_exponent=65537, key_size=2048
    )  # fmt: skip
    lock = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, lock))
    text = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return paramiko.PublicBlob.from_string(text.decode()).key_blob


def spec(identity: Path | None = None, only: bool = False) -> SshSpec:
    path = str(identity) if identity is not None else None
    return SshSpec(host="h", user="u", identity_file=path, identities_only=only)


@pytest.mark.parametrize("passphrase", [b"", b"secret"])
def test_the_public_part_of_a_key_is_read_without_its_passphrase(tmp_path, passphrase):
    public = write_key(tmp_path / "key", OPENSSH, passphrase)
    assert public_part(tmp_path / "key") == public


def test_a_file_beside_the_key_says_its_public_part(tmp_path):
    public = write_key(tmp_path / "key", PEM, b"secret")
    assert public_part(tmp_path / "key") == b""
    (tmp_path / "key.pub").write_text(f"ssh-rsa {base64.b64encode(public).decode()} me@here\n")
    assert public_part(tmp_path / "key") == public


@pytest.mark.parametrize("form", [OPENSSH, PEM])
def test_an_identity_file_is_tried_and_keys_of_the_home_directory_are_not(tmp_path, form):
    public = write_key(tmp_path / "key", form)
    write_key(tmp_path / ".ssh" / "id_ed25519")
    keys = find_keys(spec(tmp_path / "key"), "host")
    assert [candidate.key.asbytes() for candidate in keys.candidates] == [public]
    assert keys.notes == []


def test_without_an_identity_file_keys_of_the_home_directory_are_tried(tmp_path):
    publics = [
        write_key(tmp_path / ".ssh" / "id_ed25519"),
        write_key(tmp_path / ".ssh/id_rsa", PEM),
    ]
    keys = find_keys(spec(), "host")
    assert [candidate.key.asbytes() for candidate in keys.candidates] == publics


@pytest.mark.parametrize("form", [OPENSSH, PEM])
def test_an_encrypted_key_without_an_agent_is_said_with_what_to_do(tmp_path, form):
    write_key(tmp_path / "key", form, b"secret")
    keys = find_keys(spec(tmp_path / "key"), "host")
    assert not keys.candidates
    assert "is encrypted and no SSH agent runs: eval $(ssh-agent)" in keys.notes[0]


def test_a_file_that_is_no_key_is_said(tmp_path):
    (tmp_path / "key").write_text("hello")
    [note] = find_keys(spec(tmp_path / "key"), "host").notes
    assert note.startswith(f"{tmp_path}/key is no private key")


def test_a_missing_identity_file_is_an_error(tmp_path):
    with pytest.raises(HostError, match=r"host: the identity file .*none cannot be read"):
        find_keys(spec(tmp_path / "none"), "host")


def test_an_agent_that_is_gone_holds_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    assert find_keys(spec(), "host") == ([], [])
