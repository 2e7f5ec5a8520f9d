"""`actorrl check`: ways to a host that work, and those that do not, each with its own words."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from actorrl.cli import main
from actorrl.errors import EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE, EXIT_VERSION
from tests.cluster import sandboxes
from tests.cluster.sandboxes import NOISE, Sandbox

LIMIT_S = 15  # promised for every way in which a host cannot be reached


@pytest.fixture
def check(capsys):
    """check(host file) -> (exit code, what was printed, what went to stderr)"""

    def check(hosts: Path) -> tuple[int, str, str]:
        start = time.monotonic()
        code = main.run(["check", "--hosts", str(hosts)])
        assert time.monotonic() - start < LIMIT_S
        captured = capsys.readouterr()
        rows = re.split(r"^(?:notice|warning): ", captured.out, flags=re.M)[0].splitlines()
        assert all(len(row) <= 80 for row in rows)
        return code, captured.out, captured.err

    return check


@pytest.fixture
def hosts(tmp_path) -> Path:
    return tmp_path / "cluster.yml"


def is_ok(result: tuple[int, str, str], num_hosts: int = 1) -> bool:
    code, out, err = result
    rows = re.findall(r" ok +\d", out)
    return (code, len(rows), err) == (EXIT_OK, num_hosts, "")


def keygen(path: Path, passphrase: str = "") -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True)
    return path


# ---- ways that work -----------------------------------------------------------------------------


def test_hosts_of_a_sandbox_are_all_well(flat, check):
    assert is_ok(check(flat.directory / "cluster.yml"), num_hosts=4)


def test_a_port_of_its_own(flat, check, hosts):
    assert is_ok(check(flat.cluster(hosts, f"{flat.addresses[0]}:2222")))
    assert re.search(r"Connection from .* port 2222", flat.log(flat.plan.hosts[0]))


def test_another_user(flat, check, hosts):
    assert is_ok(check(flat.cluster(hosts, f"alice@{flat.addresses[0]}")))
    assert "Accepted publickey for alice" in flat.log(flat.plan.hosts[0])


def test_an_identity_file_elsewhere(flat, check, hosts, tmp_path):
    shutil.copy(flat.key, tmp_path / "my key")
    assert is_ok(
        check(flat.cluster(hosts, flat.addresses[0], identity_file=str(tmp_path / "my key")))
    )


def test_keys_of_the_home_directory(flat, check, hosts, home):
    shutil.copy(flat.key, home / ".ssh" / "id_ed25519")
    shutil.copy(flat.known_hosts, home / ".ssh" / "known_hosts")
    hosts = flat.cluster(hosts, flat.addresses[0], identity_file=None, known_hosts=None)
    assert is_ok(check(hosts))


def test_host_names_that_known_hosts_has_hashed(flat, check, hosts, home):
    known = home / ".ssh" / "known_hosts"
    shutil.copy(flat.known_hosts, known)
    subprocess.run(["ssh-keygen", "-H", "-f", known], check=True, capture_output=True)
    assert flat.addresses[0] not in known.read_text()
    assert is_ok(check(flat.cluster(hosts, f"{flat.addresses[0]}:2222", known_hosts=None)))


def test_one_jump_host(behind_jump, check, hosts):
    assert is_ok(check(behind_jump.cluster(hosts, behind_jump.addresses[0])))


def test_two_jump_hosts_and_no_way_back(far_away, check, hosts):
    code, out, err = check(far_away.cluster(hosts, far_away.addresses[0]))
    assert (code, err) == (EXIT_OK, "") and " by tunnel " in out
    assert re.search(r"warning: .* cannot connect to the driver: an SSH forward", out)


def test_an_alias_with_all_it_says(far_away, check, hosts, home):
    first, second = (jump.address for jump in far_away.plan.jumps)
    (home / ".ssh" / "config").write_text(
        f"Host box\n HostName {far_away.addresses[0]}\n Port 2222\n ProxyJump one,two\n"
        f" HostKeyAlias the-box\nHost one\n HostName {first}\nHost two\n HostName {second}\n"
        f"Host *\n User rl\n IdentityFile {far_away.key}\n"
        f" UserKnownHostsFile {far_away.known_hosts} {home}/known\n"
    )
    [line] = [
        line
        for line in far_away.known_hosts.read_text().splitlines()
        if line.startswith(f"{far_away.addresses[0]} ")
    ]
    (home / "known").write_text(line.replace(far_away.addresses[0], "the-box"))
    left_out = dict.fromkeys(["user", "identity_file", "known_hosts", "proxy_jump"])
    code, out, err = check(far_away.cluster(hosts, "box", **left_out))
    assert (code, err) == (EXIT_OK, "") and "box " in out


def test_an_encrypted_key_that_an_agent_holds(flat, check, hosts, ssh_agent, locked_key, tmp_path):
    sandboxes.add_to_agent(locked_key, tmp_path)
    assert is_ok(check(flat.cluster(hosts, flat.addresses[0], identity_file=str(locked_key))))
    assert is_ok(check(flat.cluster(hosts, flat.addresses[0], identity_file=None)))


def test_noisy_start_up_files(flat, check, hosts):
    start_up = flat.home(flat.plan.hosts[0], "alice") / ".bashrc"
    start_up.write_text(NOISE)
    try:
        assert is_ok(check(flat.cluster(hosts, f"alice@{flat.addresses[0]}")))
    finally:
        start_up.unlink()


def test_a_home_directory_with_spaces(flat, check, hosts):
    assert is_ok(check(flat.cluster(hosts, f"spaced@{flat.addresses[0]}")))


# ---- ways that do not ---------------------------------------------------------------------------


def failed(result: tuple[int, str, str], message: str, code: int = EXIT_UNREACHABLE) -> bool:
    got, out, err = result
    assert re.search(message, err), err
    assert len(err.splitlines()) < 10
    return got == code and " FAILED" in out


def test_a_wrong_user(flat, check, hosts):
    hosts = flat.cluster(hosts, f"nobody-here@{flat.addresses[0]}")
    assert failed(check(hosts), r"it lets user nobody-here in with none of your keys\n  tried /")


def test_a_wrong_key(flat, check, hosts, tmp_path):
    key = keygen(tmp_path / "other")
    hosts = flat.cluster(hosts, flat.addresses[0], identity_file=str(key))
    assert failed(
        check(hosts), rf"none of your keys\n  tried {key} \(SHA256:.*\n(.*\n)*.*ssh-copy-id"
    )


def test_no_key_at_all(flat, check, hosts):
    hosts = flat.cluster(hosts, flat.addresses[0], identity_file=None)
    assert failed(check(hosts), r"no key to log in with\n.*no SSH agent holds a key")


def test_an_encrypted_key_without_an_agent(flat, check, hosts, locked_key):
    hosts = flat.cluster(hosts, flat.addresses[0], identity_file=str(locked_key))
    assert failed(check(hosts), rf"{locked_key} is encrypted and no SSH agent runs: .*ssh-add")


def test_an_encrypted_key_that_the_agent_does_not_hold(flat, check, hosts, ssh_agent, locked_key):
    hosts = flat.cluster(hosts, flat.addresses[0], identity_file=str(locked_key))
    assert failed(check(hosts), r"your SSH agent does not hold it: ssh-add /")


def test_a_closed_port(flat, check, hosts):
    hosts = flat.cluster(hosts, f"{flat.addresses[0]}:2299")
    assert failed(check(hosts), rf"the port {flat.addresses[0]}:2299 is closed")


def test_a_closed_port_behind_a_hop(behind_jump, check, hosts):
    hosts = behind_jump.cluster(hosts, f"{behind_jump.addresses[0]}:2299")
    assert failed(check(hosts), r"the hop before it cannot reach \S+:2299 \(Connect failed\)")


def test_an_address_without_a_host(flat, check, hosts):
    nobody = re.sub(r"\d+$", "200", flat.addresses[0])
    hosts = flat.cluster(hosts, nobody)
    assert failed(check(hosts), rf"there is no route to {nobody}:22")


def test_a_server_that_says_nothing(flat, check, hosts):
    """Its connections wait for ever: the time limit ends it."""
    with _silent_server(flat.plan.driver_address) as port:
        hosts = flat.cluster(hosts, f"{flat.plan.driver_address}:{port}", connect_timeout_s=3)
        assert failed(check(hosts), r"no answer within 3 s")


def _silent_server(address: str):
    import contextlib
    import socket

    @contextlib.contextmanager
    def serve():
        with socket.create_server((address, 0)) as server:
            yield server.getsockname()[1]

    return serve()


def test_a_name_that_nobody_knows(flat, check, hosts):
    assert failed(
        check(flat.cluster(hosts, "nobody.invalid")), "the name nobody.invalid is not known"
    )


# ---- host keys ----------------------------------------------------------------------------------


def was_offered_nothing(sandbox: Sandbox, index: int, log_before: str) -> bool:
    """The server heard of no user and no key."""
    log = sandbox.log(sandbox.plan.hosts[index])[len(log_before) :]
    assert "Connection from" in log
    return "userauth-request" not in log and "SHA256" not in log


def with_other_key(sandbox: Sandbox, address: str, tmp_path: Path) -> str:
    """A known_hosts file with another key for the address."""
    words = Path(f"{keygen(tmp_path / 'other')}.pub").read_text().split()
    lines = sandbox.known_hosts.read_text().splitlines(keepends=True)
    others = [line for line in lines if not line.startswith(f"{address} ")]
    path = tmp_path / "known"
    path.write_text("".join([*others, f"{address} {words[0]} {words[1]}\n"]))
    return str(path)


def test_an_unknown_host_key_and_the_command_that_trusts_it(flat, check, hosts, tmp_path, capsys):
    before = flat.log(flat.plan.hosts[1])
    hosts = flat.cluster(hosts, flat.addresses[1], known_hosts=str(tmp_path / "known"))
    result = check(hosts)
    assert failed(result, r"its host key is not known\n  it shows ssh-ed25519 SHA256:")
    assert was_offered_nothing(flat, 1, before)
    words = re.search(r"actorrl (hosts trust .*)", result[2])[1].split()
    wrong = [*words[:-1], "SHA256:AAAA"]
    assert main.run(wrong) == EXIT_UNREACHABLE
    assert "nothing was changed" in capsys.readouterr().err
    assert main.run(words) == EXIT_OK
    assert words[-1] in capsys.readouterr().out
    assert is_ok(check(hosts))
    assert main.run(words) == EXIT_OK
    assert "trusted already" in capsys.readouterr().out


def test_a_changed_host_key(flat, check, hosts, tmp_path, capsys):
    before = flat.log(flat.plan.hosts[1])
    known = with_other_key(flat, flat.addresses[1], tmp_path)
    hosts = flat.cluster(hosts, flat.addresses[1], known_hosts=known)
    assert failed(check(hosts), rf"ITS HOST KEY HAS CHANGED(.*\n)*.*ssh-keygen -f {known} -R")
    assert was_offered_nothing(flat, 1, before)
    text = Path(known).read_text()
    code = main.run(["hosts", "trust", flat.addresses[1], "--hosts", str(hosts)])
    assert code == EXIT_UNREACHABLE and Path(known).read_text() == text
    assert "its key is changed" in capsys.readouterr().err


def test_a_changed_host_key_of_a_jump_host(behind_jump, check, hosts, tmp_path):
    jump = behind_jump.plan.jumps[0]
    before = behind_jump.log(jump)
    known = with_other_key(behind_jump, jump.address, tmp_path)
    hosts = behind_jump.cluster(hosts, behind_jump.addresses[0], known_hosts=known)
    message = rf"jump host rl@{jump.address}: ITS HOST KEY HAS CHANGED"
    assert failed(check(hosts), message)
    assert "userauth-request" not in behind_jump.log(jump)[len(before) :]


def test_a_key_known_for_another_port_only(flat, check, hosts, tmp_path):
    known = tmp_path / "known"
    lines = flat.known_hosts.read_text().splitlines(keepends=True)
    known.write_text("".join(line for line in lines if not line.startswith("[")))
    hosts = flat.cluster(hosts, f"{flat.addresses[0]}:2222", known_hosts=str(known))
    assert failed(check(hosts), "its host key is not known")


# ---- what is there ------------------------------------------------------------------------------


@pytest.fixture
def script(flat):
    """script(text) -> path on the first host of an executable in alice's home"""
    made: list[Path] = []

    def write(text: str, name: str = "a python") -> str:
        path = flat.home(flat.plan.hosts[0], "alice") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        made.append(path)
        return f"~/{name}"

    yield write
    for path in made:
        path.unlink()


def entry(sandbox: Sandbox, **keys: object) -> dict[str, object]:
    return {"host": f"alice@{sandbox.addresses[0]}", **keys}


def test_a_missing_interpreter(flat, check, hosts):
    hosts = flat.cluster(hosts, entry(flat, python="/opt/none/bin/python"))
    assert failed(check(hosts), r"there is no /opt/none/bin/python\n  name a Python 3\.\d+")


def test_an_interpreter_that_is_none(flat, check, hosts, script):
    python = script("#!/bin/sh\necho not a python >&2\nexit 3\n")
    assert failed(
        check(flat.cluster(hosts, entry(flat, python=python))), r"exit code 3\n  not a py"
    )


def test_another_python_minor_version(flat, check, hosts, script):
    told = 'import sys; sys.version_info = (3, 9, 2, "final", 0); exec(sys.argv[2])'
    python = script(f"#!/bin/sh\nexec '{flat.plan.python}' -c '{told}' \"$@\"\n")
    hosts = flat.cluster(hosts, entry(flat, python=python))
    assert failed(check(hosts), r"is Python 3\.9\.2, the driver's is 3\.\d+", EXIT_VERSION)


@pytest.mark.parametrize("protocol", [1, 99])
def test_another_actorrl_where_none_is_copied(flat, check, hosts, script, protocol):
    script(f"PROTOCOL_VERSION = {protocol}\n", "lib/actorrl/wire/messages.py")
    script("", "lib/actorrl/__init__.py")
    script('[project]\nversion = "0.0.7"\n', "lib/pyproject.toml")
    python = script(f"#!/bin/sh\nPYTHONPATH=$HOME/lib exec '{flat.plan.python}' \"$@\"\n")
    hosts = flat.cluster(hosts, entry(flat, python=python, sync={"mode": "none"}))
    message = rf"actorrl 0\.0\.7 \(protocol {protocol}\) at /home/alice/lib.*\n.*mode: copy"
    assert failed(check(hosts), message, EXIT_VERSION)
    hosts = flat.cluster(hosts, entry(flat, python=python))
    assert is_ok(check(hosts))  # `copy` brings the driver's


def test_a_work_folder_that_cannot_be_written(flat, check, hosts):
    hosts = flat.cluster(hosts, entry(flat, workdir="/etc/rl"))
    assert failed(check(hosts), r"/etc/rl cannot be written")


# ---- several hosts ------------------------------------------------------------------------------


def test_a_host_that_is_not_required_is_left_out_and_said(flat, check, hosts):
    absent = {"host": f"{flat.addresses[1]}:2299", "required": False}
    code, out, err = check(flat.cluster(hosts, flat.addresses[0], absent))
    assert (code, err) == (EXIT_OK, "") and " left out" in out
    assert re.search(r"notice: not required.*2299 is closed", out)


def test_all_hosts_that_fail_are_named_at_once(flat, check, hosts):
    names = [f"{address}:2299" for address in flat.addresses[:2]]
    code, out, err = check(flat.cluster(hosts, *names))
    assert code == EXIT_UNREACHABLE and out.count("FAILED") == 2
    assert err.startswith("error: 2 hosts cannot be used\n") and err.count("is closed") == 2


def test_hosts_are_listed_without_connecting_to_them(behind_jump, hosts, capsys):
    hosts = behind_jump.cluster(hosts, "local", behind_jump.addresses[0], "unknown.invalid")
    assert main.run(["hosts", "list", "--hosts", str(hosts)]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    address = behind_jump.addresses[0]
    assert lines[2].split() == [address, f"rl@{address}", "known", "any"]
    assert lines[3].split() == ["through", behind_jump.jumps[0], "known"]
    assert lines[4].split() == ["unknown.invalid", "rl@unknown.invalid", "unknown", "any"]


def test_trust_names_the_nearest_host(flat, hosts, capsys):
    hosts = flat.cluster(hosts, "gpu1.invalid")
    assert main.run(["hosts", "trust", "gpu2.invalid", "--hosts", str(hosts)]) == EXIT_USAGE
    assert 'did you mean "gpu1.invalid"' in capsys.readouterr().err.replace("'", '"')
