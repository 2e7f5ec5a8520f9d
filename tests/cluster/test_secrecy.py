"""A run over hosts in whose network somebody listens and knocks: nothing of it can be read, and who
does not belong to it gets nothing and changes nothing."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq
from zmq.utils import z85

from actorrl.algorithms.apex_dqn import APEXConfig
from actorrl.runtime import strays
from actorrl.wire import chunks, frames
from actorrl.wire.compression import Compressor
from actorrl.wire.control_messages import ActorExited, AgentStopped, StopAll, encode_control
from actorrl.wire.keys import KeyPair
from actorrl.wire.messages import Kind, Message
from tests.cluster.capture import Capture
from tests.cluster.light import counters_over
from tests.cluster.runs import PATIENCE_S, entry, pids_on
from tests.cluster.sandboxes import Sandbox
from tests.cluster.trainings import Training

pytestmark = pytest.mark.timeout(400)
REFUSED_S = 3.0  # a key that is not listed is held for 2 s, in case it is listed in a moment
MARKER = bytes(range(0xC1, 0xE1))

ENVIRONMENT = f"""
import gymnasium as gym
import numpy as np

class Marked(gym.Env):
    '''Every observation is a pattern that is nowhere else, then noise.'''
    observation_space = gym.spaces.Box(0, 255, (96,), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config):
        self.steps = 0

    def look(self):
        noise = self.np_random.integers(0, 256, 64, np.uint8)
        return np.concatenate([np.frombuffer({MARKER!r}, np.uint8), noise])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.look(), {{}}

    def step(self, action):
        self.steps += 1
        return self.look(), 1.0, self.steps >= 20, False, {{}}
"""


class Watched(Training):
    """An APEX run: workers on two hosts, a shard on the third, the learner here."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        one, two, three = sandbox.addresses
        hosts = sandbox.cluster(
            folder / "cluster.yml",
            entry("local", "learner"),
            entry(one, "rollout"),
            entry(two, "rollout"),
            entry(three, "replay"),
        )
        config = APEXConfig().environment("marked:Marked").cluster(hosts=str(hosts))
        config.rollouts(num_rollout_workers=2).training(num_replay_shards=1)
        super().__init__(config, folder)

    def refused(self) -> dict[str, int]:
        """How many each listener has turned away, as the run's events say."""
        found: dict[str, int] = collections.defaultdict(int)
        for event in self.events("strangers_refused"):
            found[event["actor"]] += event["count"]
        return found

    def listeners(self) -> dict[str, tuple[str, str]]:
        """Name -> address and public key of everybody who can be dialled."""
        fleet = self.service.fleet
        here = self.sandbox.plan.driver_address
        found = {
            "driver control": (f"tcp://{here}:{fleet.board.tcp_port}", fleet.keys.public),
            "driver beats": (f"tcp://{here}:{fleet.board.tcp_beat_port}", fleet.keys.public),
            "driver": (_at(here, self.service.driver_door.tcp_address), fleet.keys.public),
        }
        for name, agent in fleet.agents.items():
            host = here if name == "local" else name
            found[f"agent/{name}"] = (_at(host, agent.hello.tcp), agent.keys.public)
        for slot in self.service._supervisor.slots.values():
            host = here if slot.host == "local" else slot.host
            found[slot.name] = (_at(host, slot.tcp), self.public_key(slot.name))
        there = listening(self.sandbox)  # others do not listen, or to their own host alone
        return {
            name: (address, key)
            for name, (address, key) in found.items()
            if address in there or address.startswith(f"tcp://{here}:")
        }

    def public_key(self, actor: str) -> str:
        """Of its present incarnation."""
        return str(self.service._cast._keys[actor])


def _at(host: str, address: str) -> str:
    return f"tcp://{host}:{address.rpartition(':')[2]}"


class Keys:
    """All pairs that the driver has made, by public key."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.pairs: dict[str, KeyPair] = {}
        self._make = KeyPair.new
        patch.setattr(KeyPair, "new", self._new)

    def _new(self) -> KeyPair:
        pair = self._make()
        self.pairs[pair.public] = pair
        return pair

    def forms(self) -> list[bytes]:
        """Every secret half, as text and as bytes."""
        secrets = [pair.secret for pair in self.pairs.values()]
        return [form for text in secrets for form in (text.encode(), z85.decode(text))]


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def keys(patch: pytest.MonkeyPatch) -> Keys:
    return Keys(patch)


@pytest.fixture(scope="module")
def earlier_pair(flat: Sandbox, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    """The driver's, of a run over the same hosts that has ended."""
    folder = tmp_path_factory.mktemp("earlier")
    hosts = flat.cluster(folder / "cluster.yml", flat.addresses[0])
    with counters_over(hosts, 1) as cluster:
        assert cluster.ref("counter/0").add.call(1).result() == 1
        assert cluster._service is not None
        return cluster._service.fleet.keys


@pytest.fixture(scope="module")
def cables(flat: Sandbox) -> Iterator[Capture]:
    """Where somebody listens from before the run on."""
    ends = [host.interfaces[0].outside for host in flat.plan.hosts]
    capture = Capture(ends, {"observation": MARKER, "name": b"rollout/0"})
    capture.start()
    yield capture
    capture.stop()


@pytest.fixture(scope="module")
def training(
    flat: Sandbox,
    patch: pytest.MonkeyPatch,
    keys: Keys,
    cables: Capture,
    earlier_pair: KeyPair,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("secrecy")
    (folder / "marked.py").write_text(ENVIRONMENT)
    patch.syspath_prepend(str(folder))
    training = Watched(flat, folder)
    yield training
    training.stop()


# ---- who knocks ---------------------------------------------------------------------------------


class Stranger:
    """Dials a listener and says what would do harm, if it were heard."""

    def __init__(
        self, context: zmq.Context, address: str, server_key: str = "", pair: KeyPair | None = None
    ) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        if pair is not None:
            self._socket.curve_serverkey = server_key.encode()
            self._socket.curve_publickey = pair.public.encode()
            self._socket.curve_secretkey = pair.secret.encode()
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._socket.connect(address)
        for kind in (Kind.CALL, Kind.TELL, Kind.ITEM, Kind.REQUEST):
            message = Message(kind, "weights", 0, source="learner/0", incarnation=1)
            self._socket.send_multipart(frames.encode(message), zmq.NOBLOCK)
        for word in (StopAll(0.0), AgentStopped([], []), ActorExited("learner/0", 1, 9, "")):
            self._socket.send(encode_control(word), zmq.NOBLOCK)

    def got_anything(self) -> bool:
        """An answer, or just in."""
        return bool(self._socket.poll(0) or self._monitor.poll(0))

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)


def knock(listeners: dict[str, tuple[str, str]], pairs: dict[str, KeyPair | None]) -> list[str]:
    """Dial each of them as each of these; who was let in or answered where. Somebody without a pair
    does not speak CURVE, `wrong server` takes the server for another."""
    context = zmq.Context()
    strangers = {}
    for name, (address, key) in listeners.items():
        for who, pair in pairs.items():
            shown = KeyPair.new().public if who == "wrong server" else key
            strangers[f"{who} at {name}"] = Stranger(context, address, shown, pair)
    time.sleep(REFUSED_S)
    found = [name for name, stranger in strangers.items() if stranger.got_anything()]
    for stranger in strangers.values():
        stranger.close()
    context.term()
    return found


def listening(sandbox: Sandbox) -> set[str]:
    """What can be dialled on the hosts, but for their SSH servers."""
    found = set()
    for host in sandbox.plan.hosts:
        (pid, *_) = pids_on(host.namespace)
        for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            port = int(local.rpartition(":")[2], 16)
            if state == "0A" and port not in host.ports and not local.startswith("0100007F"):
                found.add(f"tcp://{host.address}:{port}")
    return found


def goes_on(training: Watched, restarts: int) -> bool:
    """With all that it had."""
    training.wait_for_rows(2)
    row = training.rows[-1]
    assert row["num_restarts"] == restarts and row["num_healthy_workers"] == 2
    assert all(row["state"] in ("ready", "up") for row in training.algo.status())
    return True


def were_counted(
    training: Watched, listeners: Iterable[str], before: dict[str, int], count: int
) -> bool:
    """So many at each listener."""
    names = {name.removesuffix(" control").removesuffix(" beats") for name in listeners}
    assert names >= {"driver", "agent/local", "replay/0"}
    training.wait(lambda: all(training.refused()[n] - before[n] >= count for n in names))
    return True


def end_all_of(training: Watched, host: str) -> None:
    """Everything of the run there; until its successors are up."""
    assert training.actor("rollout/0")["host"] == host
    incarnation = training.actor("rollout/0")["incarnation"]
    for pid in strays.of_run(training.algo.run_id, host):
        with contextlib.suppress(ProcessLookupError):  # it ended with its agent
            os.kill(pid, signal.SIGKILL)
    training.wait(lambda: training.actor("rollout/0")["incarnation"] > incarnation)
    training.wait(lambda: training.actor("rollout/0")["state"] == "ready")
    training.wait(lambda: training.actor(f"agent/{host}")["state"] == "up")
    training.wait_for_rows(1)


def test_strangers_and_the_dead_get_nothing_change_nothing_and_are_counted(
    training, keys, earlier_pair
):
    training.wait_for_rows(1)
    listeners = training.listeners()
    assert listening(training.sandbox) <= {address for address, _ in listeners.values()}
    one, fleet = training.sandbox.addresses[0], training.service.fleet
    strangers: dict[str, KeyPair | None] = {
        "no key": None,
        "wrong server": KeyPair.new(),
        "unlisted": KeyPair.new(),
        "earlier run": earlier_pair,
        "dead actor": keys.pairs[training.public_key("rollout/0")],
        "dead agent": fleet.agents[one].keys,
    }
    end_all_of(training, one)
    before, restarts = training.refused(), training.rows[-1]["num_restarts"]
    listeners = training.listeners()
    assert knock(listeners, strangers) == []
    assert goes_on(training, restarts)
    assert were_counted(training, listeners, before, len(strangers))


# ---- what can be read ---------------------------------------------------------------------------


def places(training: Watched) -> Iterator[tuple[str, bytes]]:
    """What anybody may look at: arguments and environments of all processes; and the files of the
    run: its folder and logs, what it has on the hosts, its directories of sockets."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                yield f"/proc/{pid}/{name}", Path("/proc", pid, name).read_bytes()
    roots = [training.folder, Path(tempfile.gettempdir(), f"actorrl-{os.getuid()}")]
    for host in training.sandbox.plan.hosts:
        roots_there = (Path(f"/proc/{pid}/root") for pid in pids_on(host.namespace))
        inside = next(path for path in roots_there if (path / "run" / "sandbox").exists())
        roots.append(training.sandbox.plan.of(host) / "home")
        roots += [*(inside / "tmp").glob("actorrl*"), inside / "dev" / "shm"]
    for root in roots:
        for path in root.rglob("*"):
            with contextlib.suppress(OSError):
                is_code = "/.actorrl/code/" in str(path)  # copied, and the same for every run
                if path.is_file() and not path.is_symlink() and not is_code:
                    yield str(path), path.read_bytes()


def who_shows(training: Watched, forms: list[bytes]) -> set[str]:
    return {where for where, text in places(training) if any(form in text for form in forms)}


def test_no_secret_is_in_arguments_environments_logs_or_files(training, keys):
    training.wait_for_rows(1)
    looked_at = {where for where, _ in places(training)}
    assert any(where.endswith("/rollout-0.log") for where in looked_at)
    fleet = training.service.fleet
    secrets = keys.forms()
    assert len(secrets) >= 2 * (1 + len(fleet.agents) + 4)  # driver, agents, actors
    assert fleet.keys.secret.encode() in secrets
    (body,) = training.sandbox.key.read_text().splitlines()[2:3]  # of the SSH key
    assert who_shows(training, [*secrets, body.encode()]) == set()


def test_the_search_for_secrets_would_find_them(training, keys):
    secret = KeyPair.new().secret
    planted = training.folder / "logs" / "planted.log"
    planted.write_bytes(b"raw " + z85.decode(secret))
    command = ["sh", "-c", "read line; : $0", secret]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={"KEY": secret}) as process:
        pid = process.pid
        wanted = {f"/proc/{pid}/cmdline", f"/proc/{pid}/environ", str(planted)}
        assert who_shows(training, keys.forms()) == wanted
        process.kill()
    planted.unlink()


def test_nothing_that_crosses_can_be_read(training, cables, keys, tmp_path):
    training.wait(lambda: training.rows and training.rows[-1]["timesteps_total"] > 2000)
    seen, num_bytes = dict(cables.found), cables.num_bytes
    assert num_bytes > 2000 * (len(MARKER) + 64)
    assert cables.num_missed == 0
    assert seen == {"observation": 0, "name": 0}
    assert not any(form in cables.kept for form in keys.forms())
    # the same observations where there is no CURVE, compressed as they are between hosts
    observations = np.frombuffer((MARKER + os.urandom(64)) * 50, np.uint8).reshape(50, 96)
    message = Message(Kind.ITEM, "samples", {"n": 50}, {"obs": observations}, source="rollout/0")
    parts, _ = frames.encode_compressed(message, Compressor())
    (tmp_path / "clear").write_bytes(b"".join(bytes(part) for part in chunks.split(parts)))
    host = training.sandbox.plan.hosts[0]
    with socket.create_server((training.sandbox.plan.driver_address, 0)) as server:
        address = "/".join(map(str, server.getsockname()))
        send = f"cat {tmp_path}/clear > /dev/tcp/{address}"
        command = ["ip", "netns", "exec", host.namespace, "bash", "-c", send]
        subprocess.run(command, check=True, timeout=PATIENCE_S)
    training.wait(lambda: cables.found["observation"] > 0 and cables.found["name"] > 0)
