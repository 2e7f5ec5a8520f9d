"""What ~/.ssh/config says of a host, and what goes before it."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from actorrl.errors import ConfigError
from actorrl.runtime.host_ranges import parse_address
from actorrl.runtime.host_specs import SshSpec
from actorrl.runtime.ssh_config import SshConfig


@pytest.fixture
def resolve(tmp_path: Path):
    """resolve(config text, address, **keys of the host list) -> SshSpec"""

    def resolve(text: str, address: str, for_hops: dict | None = None, **given: object) -> SshSpec:
        path = tmp_path / "config"
        path.write_text(text)
        return SshConfig(path).resolve(parse_address(address), given, for_hops or {})

    return resolve


ALIAS = """
Host box
    HostName 10.1.2.3
    User rl
    Port 2222
    ConnectTimeout 4
    HostKeyAlias the-box
    UserKnownHostsFile /k/mine
    IdentitiesOnly yes
Host *
    User everyone
"""


def test_an_alias_stands_for_address_user_and_port(resolve):
    spec = resolve(ALIAS, "box")
    assert (spec.host, spec.user, spec.port) == ("10.1.2.3", "rl", 2222)
    assert (spec.connect_timeout_s, spec.host_key_alias) == (4.0, "the-box")
    assert spec.known_hosts[0] == "/k/mine" and spec.identities_only
    assert resolve(ALIAS, "other").user == "everyone"


@pytest.mark.parametrize(
    ("said", "seconds"), [("20", 20.0), ("1m30s", 90.0), ("2M", 120.0), ("none", 10.0), ("0", 10.0)]
)
def test_a_time_limit_is_read_as_ssh_reads_it(resolve, said, seconds):
    assert resolve(f"Host *\n    ConnectTimeout {said}\n", "h").connect_timeout_s == seconds


def test_a_time_limit_that_is_none_is_told_of(resolve):
    with pytest.raises(ConfigError, match=r"^h: .*ConnectTimeout .soon., expected seconds"):
        resolve("Host *\n    ConnectTimeout soon\n", "h")


def test_the_host_list_goes_before_the_ssh_configuration(resolve):
    spec = resolve(ALIAS, "box", user="bob", port=5, connect_timeout_s=2.0)
    assert (spec.user, spec.port, spec.connect_timeout_s) == ("bob", 5, 2.0)
    spec = resolve(ALIAS, "ann@box:7", user="bob", port=5)
    assert (spec.user, spec.port) == ("ann", 7)


def test_without_a_configuration_ssh_has_its_usual_values(tmp_path):
    spec = SshConfig(tmp_path / "none").resolve(parse_address("h"), {})
    assert (spec.host, spec.user, spec.port) == ("h", getpass.getuser(), 22)
    assert (spec.identity_file, spec.proxy_jump, spec.connect_timeout_s) == (None, (), 10.0)


def test_of_several_identity_files_the_first_that_exists_is_taken(resolve, tmp_path):
    (tmp_path / "second").touch()
    text = f"Host a\n IdentityFile {tmp_path}/first\n IdentityFile {tmp_path}/second\n"
    assert resolve(text, "a").identity_file == f"{tmp_path}/second"
    given = f"{tmp_path}/given"
    assert resolve(text, "a", identity_file=given).identity_file == given


def hops(spec: SshSpec) -> list[str]:
    return [str(hop) for hop in spec.proxy_jump]


JUMPS = """
Host far
    ProxyJump near,u@mid:23
Host near
    HostName near.lab
    User n
    ProxyJump first
Host mid
    ProxyJump never
Host first
    User f
"""


def test_hops_are_looked_up_and_only_the_first_brings_further_ones(resolve):
    assert hops(resolve(JUMPS, "far")) == ["f@first", "n@near.lab", "u@mid:23"]
    assert all(hop.proxy_jump == () for hop in resolve(JUMPS, "far").proxy_jump)


def test_an_empty_list_of_hops_means_none_and_a_given_one_replaces_the_configured(resolve):
    assert hops(resolve(JUMPS, "far", proxy_jump=[])) == []
    assert hops(resolve(JUMPS, "far", proxy_jump=["first:9"])) == ["f@first:9"]


def test_hops_of_the_host_list_have_its_user_and_key_unless_something_else_is_said(
    resolve, tmp_path
):
    key = tmp_path / "key"
    key.touch()
    ours = {"user": "rl", "identity_file": str(key)}
    spec = resolve(JUMPS, "h", ours, proxy_jump=["b", "first", "me@c"], **ours)
    assert hops(spec) == ["rl@b", "f@first", "me@c"]
    assert {hop.identity_file for hop in spec.proxy_jump} == {str(key)}
    configured = resolve("Host h\n ProxyJump b\n", "h", ours, **ours)
    assert hops(configured) == [f"{getpass.getuser()}@b"]


def test_hops_in_a_circle_are_refused(resolve):
    with pytest.raises(ConfigError, match="circle"):
        resolve("Host a\n ProxyJump b\nHost b\n ProxyJump a\n", "a")


def test_a_proxy_command_is_refused_with_what_to_write_in_its_place(resolve):
    text = "Host a\n ProxyCommand nc %h %p\n"
    with pytest.raises(ConfigError, match=r"ProxyCommand.*proxy_jump"):
        resolve(text, "a")
    assert resolve(text, "a", proxy_jump=[]).proxy_jump == ()


def test_included_files_are_read_and_end_no_block_of_the_file_around_them(resolve, tmp_path):
    (tmp_path / "more.d").mkdir()
    (tmp_path / "more.d" / "1").write_text("Host a\n User one\n")
    (tmp_path / "more.d" / "2").write_text("Host b\n User two\n")
    text = "Include more.d/*\nPort 99\nHost c\n Include none\n User three\n"
    assert (resolve(text, "a").user, resolve(text, "b").user) == ("one", "two")
    assert (resolve(text, "c").user, resolve(text, "c").port) == ("three", 99)
    assert resolve(text, "d").port == 99


def test_files_that_include_each_other_are_refused(resolve, tmp_path):
    with pytest.raises(ConfigError, match="Include"):
        resolve("Include config\n", "a")


def test_a_file_that_is_no_ssh_config_is_refused_by_name(resolve, tmp_path):
    with pytest.raises(ConfigError, match=f"{tmp_path}/config: cannot be read"):
        resolve("{}\n", "a")


@pytest.mark.parametrize("port", ["ssh", "0", "99999"])
def test_a_port_that_is_none_is_refused(resolve, port):
    with pytest.raises(ConfigError, match="port"):
        resolve(f"Host a\n Port {port}\n", "a")


def test_a_file_of_trusted_keys_holds_for_the_host_and_its_hops():
    given = {"known_hosts": "/k/lab", "proxy_jump": ["jump"]}
    spec = SshConfig(None).resolve(parse_address("h"), given, given)
    assert spec.known_hosts == ("/k/lab",) == spec.proxy_jump[0].known_hosts
