"""However a run ends, nothing of it is left: no process, directory, socket or shared memory."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from actorrl.errors import ActorDied, HostError, RunFailed
from actorrl.runtime import run_directory, service, strays
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.driver_line import watch_parent
from actorrl.runtime.host_specs import LOCAL, ClusterSpec, FailureSpec
from actorrl.runtime.host_states import HostPolicy
from actorrl.runtime.launchers import early, local
from actorrl.runtime.program import Program, Stream
from tests.runtime.clusters import (
    QUICK,
    SLEEPER,
    cluster_of,
    is_alive,
    left_of,
    rows,
    wait_until,
)

ROOT = Path(__file__).parents[2]

# A user's script: no `__main__` guard, its own class, a process of its own beside the run.
SCRIPT = """
import os, subprocess, sys, time
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.program import Program

class Mine(Actor):
    @remote
    def spawn(self):
        return subprocess.Popen(["sleep", "1000"]).pid

program = Program("script", preload=PRELOAD)
mine = program.add_group("mine", Mine, count=2)
cluster = Cluster(program, run_id=sys.argv[1])
own = subprocess.Popen([sys.executable, "-c", "import os; print(os.environ.get('ACTORRL_RUN_ID'))"],
                       stdout=subprocess.PIPE, text=True)
with cluster:
    child = mine[0].spawn.call().result()
    environ = subprocess.check_output(["env"], text=True)
    assert "ACTORRL_RUN_ID" not in environ and own.communicate()[0] == "None\\n"
    print("up", child, flush=True)
    LOOP
print("end", flush=True)
"""


def script(loop: str = "pass", preload: str = "()") -> str:
    return SCRIPT.replace("LOOP", loop).replace("PRELOAD", preload)


@contextlib.contextmanager
def user_script(text: str, run_id: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    path = folder / "user_script.py"
    path.write_text(text)
    with subprocess.Popen(
        [sys.executable, str(path), run_id],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def children_of(pid: int) -> list[int]:
    """Those that carry the mark of a run."""
    found = psutil.Process(pid).children()
    return [each.pid for each in found if strays.RUN_ID_VARIABLE in each.environ()]


# ---- the driver -----------------------------------------------------------------------------


def test_a_users_script_runs_as_it_stands(tmp_path, run_id):
    with user_script(script(), run_id, tmp_path) as driver:
        assert next_line(driver)[0] == "up" and next_line(driver) == ["end"]
        assert driver.wait() == 0
    assert left_of(run_id) == []


def test_after_the_death_of_the_driver_everything_is_gone_within_5_seconds(tmp_path, run_id):
    with user_script(script("time.sleep(1000)"), run_id, tmp_path) as driver:
        _, child = next_line(driver)
        assert len(strays.of_run(run_id)) >= 5  # agent, forkserver, two actors, one's own
        driver.kill()
        assert wait_until(lambda: not left_of(run_id)) < 5.0
        assert not is_alive(int(child))


def test_after_the_death_of_a_driver_whose_actors_do_not_listen_everything_is_gone(
    tmp_path, run_id
):
    loop = "[m.spin.tell() for m in mine]; time.sleep(1000)"
    spin = "    @remote\n    def spin(self):\n        while True: pass\n\nprogram ="
    text = script(loop).replace("\nprogram =", f"\n{spin}", 1)
    with user_script(text, run_id, tmp_path) as driver:
        next_line(driver)
        time.sleep(0.2)
        driver.kill()
        assert wait_until(lambda: not left_of(run_id)) < 5.0


def test_after_a_death_during_the_preload_everything_is_gone(tmp_path, run_id):
    (tmp_path / "slow_module.py").write_text("import time; time.sleep(1000)")
    with user_script(script(preload="('slow_module',)"), run_id, tmp_path) as driver:
        wait_until(lambda: len(strays.of_run(run_id)) >= 2)
        driver.kill()
        assert wait_until(lambda: not left_of(run_id)) < 5.0


def test_a_script_that_ends_without_stopping_leaves_nothing(tmp_path, run_id):
    with user_script(script("os._exit(0)"), run_id, tmp_path) as driver:
        next_line(driver)
        driver.wait()
        assert wait_until(lambda: not left_of(run_id)) < 5.0


# ---- the agent ------------------------------------------------------------------------------


def test_after_the_death_of_the_agent_another_starts_all_actors_again(tmp_path, run_id):
    events: list[dict] = []
    cluster = cluster_of(2, run_id=run_id, log_dir=tmp_path, on_event=events.append)
    cluster.start()
    workers = [cluster.ref(f"worker/{index}") for index in range(2)]
    pids = [worker.pid.call().result() for worker in workers]
    child = workers[0].spawn.call().result()
    waiting = workers[1].sleep.call(100)
    agent = rows(cluster)["agent/local"]["pid"]
    os.kill(agent, signal.SIGKILL)
    with pytest.raises(ActorDied):  # the process that was asked has ended
        waiting.result()
    wait_until(lambda: cluster.num_ready("worker") == 2)
    wait_until(lambda: not any(is_alive(pid) for pid in [*pids, child]))
    assert not set(pids) & {worker.pid.call().result() for worker in workers}
    row = rows(cluster)["agent/local"]
    assert (row["state"], row["incarnation"], row["restarts"]) == ("up", 2, 1)
    assert row["pid"] != agent
    assert rows(cluster)["worker/0"]["last_error"] == "its host local was lost"
    (lost,) = [event for event in events if event["event"] == "host_lost"]
    assert lost["reason"] == "its agent ended (killed by signal 9 (SIGKILL))"
    assert lost["elements_at_most"] == 0  # this Program has no streams
    assert cluster.stop() == [] and left_of(run_id) == []


def test_after_the_death_of_driver_and_agent_at_once_everything_is_gone(tmp_path, run_id):
    text = script("time.sleep(1000)").replace('"1000"]', '"1000"], start_new_session=True')
    with user_script(text, run_id, tmp_path) as driver:
        _, child = next_line(driver)
        agent = children_of(driver.pid)[0]
        os.kill(agent, signal.SIGSTOP)  # it does not see the other end
        driver.kill()
        os.kill(agent, signal.SIGKILL)
        wait_until(lambda: not strays.of_run(run_id))
        assert not is_alive(int(child))
    run_directory.clear(run_id, 1.0)  # its sockets: nobody was left for them
    assert left_of(run_id) == []


def test_after_the_death_of_the_forkserver_all_actors_are_started_again(run_id):
    events: list[dict] = []
    with cluster_of(2, run_id=run_id, on_event=events.append) as cluster:
        workers = [cluster.ref(f"worker/{index}") for index in range(2)]
        pids = {worker.pid.call().result() for worker in workers}
        (forkserver,) = {psutil.Process(pid).ppid() for pid in pids}
        os.kill(forkserver, signal.SIGKILL)
        wait_until(lambda: cluster.num_restarts() == 2 and cluster.num_ready("worker") == 2)
        assert not pids & {worker.pid.call().result() for worker in workers}
        ends = [event["reason"] for event in events if event["event"] == "actor_exited"]
        assert len(ends) == 2 and all("forkserver was killed" in reason for reason in ends)
        assert not any(map(is_alive, pids))


def test_an_agent_that_is_killed_before_it_is_up_is_started_once_more(monkeypatch, run_id):
    start, killed = local.LocalAgentProcess.start, []

    def start_and_kill(self: local.LocalAgentProcess, config: bytes) -> None:
        start(self, config)
        if len(killed) < how_often:
            killed.append(self.pid)
            self.kill()

    monkeypatch.setattr(local.LocalAgentProcess, "start", start_and_kill)
    how_often = 1
    with cluster_of(1, run_id=run_id) as cluster:
        assert cluster.ref("worker/0").add.call().result() == 1
    how_often = 9
    with pytest.raises(HostError, match=r"^local: its agent ended \(killed by .*SIGKILL"):
        cluster_of(1, run_id=run_id).start()
    assert left_of(run_id) == []


def test_an_agent_that_dies_again_and_again_ends_the_run_with_its_cause(run_id):
    cluster = cluster_of(1, run_id=run_id)
    cluster.start()
    cluster._service.fleet.table.policy = HostPolicy(max_losses=1, local_cooldown_s=0.01)

    def kill_the_agent() -> bool:
        cluster.poll(0.05)
        pid = rows(cluster)["agent/local"]["pid"]
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return False

    with pytest.raises(RunFailed, match=r"(?s)0 hosts are up.*local: given up, .*SIGKILL"):
        wait_until(kill_the_agent)
    assert cluster.stop() == [] and left_of(run_id) == []


def test_an_error_in_the_service_thread_ends_the_run_with_a_message(monkeypatch, run_id):
    def broken(event: dict) -> None:
        if event["event"] == "actor_exited":
            raise OSError("no space left on device")

    cluster = cluster_of(1, run_id=run_id, on_event=broken)
    cluster.start()
    cluster.ref("worker/0").exit.tell(1)
    with pytest.raises(RunFailed, match=r"service thread failed(.|\n)*no space left on device"):
        wait_until(lambda: bool(cluster.poll(0.05)))
    assert cluster.stop() == [] and left_of(run_id) == []


def test_a_control_thread_that_fails_ends_the_process(tmp_path):
    class Sabotaged(Actor):
        @remote
        def sabotage(self) -> None:
            """The control thread fails at its next word."""
            self.context._mailbox.door.post_peers = None

    with cluster_of(2, Sabotaged, log_dir=tmp_path) as cluster:
        cluster.ref("worker/0").sabotage.call().result()
        os.kill(rows(cluster)["worker/1"]["pid"], signal.SIGKILL)  # there will be a new table
        wait_until(lambda: rows(cluster)["worker/0"]["restarts"] == 1)
        assert "exit code 70" in rows(cluster)["worker/0"]["last_error"]


# ---- stopping -------------------------------------------------------------------------------


class Stubborn(Actor):
    """Does not come back from its only method."""

    @remote
    def ignore(self) -> None:
        while True:
            time.sleep(0.1)


def test_an_actor_that_does_not_stop_within_the_host_lists_grace_is_killed_and_named(run_id):
    events: list[dict] = []
    hosts = ClusterSpec(failure=FailureSpec(grace_s=0.5))
    cluster = cluster_of(2, Stubborn, run_id=run_id, spec=hosts, on_event=events.append)
    cluster.start()
    cluster.ref("worker/1").ignore.tell()
    time.sleep(0.2)
    before = time.monotonic()
    assert cluster.stop() == []
    assert 0.4 < time.monotonic() - before < 5.0
    assert left_of(run_id) == []
    assert [e["actors"] for e in events if e["event"] == "actors_killed"] == [["worker/1"]]


def test_kill_waits_for_nobody(run_id):
    cluster = cluster_of(2, Stubborn, run_id=run_id)
    cluster.start()
    cluster.ref("worker/0").ignore.tell()
    assert cluster.kill() == [] and left_of(run_id) == []


def test_an_actor_stops_in_the_middle_of_its_loop(tmp_path):
    class Stepper(Actor):
        def step(self) -> None:
            time.sleep(0.001)

        def on_stop(self) -> None:
            (tmp_path / "stopped").touch()

    cluster = cluster_of(1, Stepper)
    cluster.start()
    before = time.monotonic()
    cluster.stop(grace_s=30.0)
    assert time.monotonic() - before < 10.0 and (tmp_path / "stopped").exists()


def test_an_error_in_on_stop_is_told_and_holds_nobody_up(tmp_path, run_id):
    class Sour(Actor):
        def on_stop(self) -> None:
            if self.context.index == 0:
                raise ValueError("sour grapes")
            (tmp_path / "stopped").touch()

    events: list[dict] = []
    cluster = cluster_of(2, Sour, run_id=run_id, on_event=events.append)
    cluster.start()
    assert cluster.stop() == [] and (tmp_path / "stopped").exists()
    (told,) = [event for event in events if event["event"] == "actor_exited"]
    assert told["reason"] == "ValueError: sour grapes"


@pytest.mark.parametrize("broken", ["start_agent", "Endpoint", "on_event", "run_directory"])
def test_a_start_that_fails_half_way_leaves_nothing(monkeypatch, broken, run_id):
    def fail(*_: object, **__: object) -> None:
        raise OSError("half way")

    def fail_event(event: dict) -> None:
        raise OSError("half way")

    if broken == "run_directory":
        monkeypatch.setattr(run_directory, "make", fail)
    elif broken == "start_agent":
        monkeypatch.setattr(local.LocalAgentProcess, "start", fail)
    elif broken == "Endpoint":
        monkeypatch.setattr(service, "Endpoint", fail)
    cluster = cluster_of(1, run_id=run_id, on_event=fail_event if broken == "on_event" else None)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RunFailed, match=r"this machine refuses .*: half way"):
        cluster.start()
    assert left_of(run_id) == []
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert cluster.stop() == []


def test_two_runs_of_one_id_are_refused(run_id):
    with cluster_of(1, run_id=run_id), pytest.raises(RunFailed, match="same id"):
        cluster_of(1, run_id=run_id).start()
    assert left_of(run_id) == []


def test_without_a_temporary_directory_the_message_says_what_to_set(monkeypatch, run_id):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nonexistent"])
    early.start(local.environment(run_id, LOCAL), [])
    assert early._waiting is None, "there is no early agent, and that is no error yet"
    with pytest.raises(RunFailed, match="set TMPDIR"):
        cluster_of(1, run_id=run_id).start()


def test_a_temporary_directory_too_deep_for_sockets_is_said(monkeypatch, tmp_path):
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(RunFailed, match="set TMPDIR to a shorter one"):
        cluster_of(1).start()


def test_a_directory_that_others_may_enter_is_refused(monkeypatch, tmp_path_factory):
    short = Path(os.path.realpath("/tmp")) / f"rt-open-{os.getpid()}"
    (short / f"actorrl-{os.getuid()}").mkdir(parents=True, mode=0o755)
    monkeypatch.setattr("tempfile.tempdir", str(short))
    try:
        with pytest.raises(RunFailed, match="this user alone"):
            cluster_of(1).start()
    finally:
        (short / f"actorrl-{os.getuid()}").rmdir()
        short.rmdir()


def descriptors_and_threads() -> tuple[int, int]:
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def test_ten_runs_leave_no_descriptor_and_no_thread():
    for _ in range(2):  # what libraries keep, they keep from now on
        with cluster_of(1) as cluster:
            cluster.ref("worker/0").add.call().result()
    before = descriptors_and_threads()
    for _ in range(10):
        with cluster_of(1) as cluster:
            assert cluster.ref("worker/0").add.call().result() == 1
    assert descriptors_and_threads() == before


# ---- shared memory --------------------------------------------------------------------------


class Grower(Actor):
    """Sends ever larger elements."""

    def on_start(self) -> None:
        self.sent = 0

    def step(self) -> None:
        self.sent += 1
        size = 10_000 * (1 + self.sent % 20)
        self.context.stream("data").send(None, {"x": np.zeros(size)})


class Sink(Actor):
    def on_start(self) -> None:
        self.got = 0

    def on_data(self, item) -> None:
        self.got += 1

    @remote
    def count(self) -> int:
        return self.got


def held_by_agent(cluster: Cluster) -> int:
    """Memory that the agent still has, by its descriptors."""
    folder = Path(f"/proc/{rows(cluster)['agent/local']['pid']}/fd")
    links = []
    for link in folder.iterdir():
        with contextlib.suppress(OSError):
            links.append(os.readlink(link))
    return sum("memfd:actorrl" in link for link in links)


def test_shared_memory_is_bounded_by_links_whatever_grows_and_dies():
    program = Program("memory")
    growers = program.add_group("grower", Grower, count=2)
    sinks = program.add_group("sink", Sink, count=2)
    program.link("data", Stream(credit=2), growers, sinks)
    with Cluster(program, policy=QUICK) as cluster:
        for victim in ("sink/0", "grower/1", "sink/1", "grower/0"):
            wait_until(lambda: min(sink.count.call().result() for sink in sinks) > 50)
            os.kill(rows(cluster)[victim]["pid"], signal.SIGKILL)
            wait_until(lambda v=victim: rows(cluster)[v]["restarts"] == 1)
        wait_until(lambda: min(sink.count.call().result() for sink in sinks) > 50)
        wait_until(lambda: held_by_agent(cluster) <= 4 + 4)  # a slab per pair, a ledger per slot


# ---- strays ---------------------------------------------------------------------------------


def test_only_processes_of_the_run_are_ended():
    def sleeper(run_id: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(SLEEPER, env={**os.environ, "ACTORRL_RUN_ID": run_id})

    mine, longer, other = sleeper("run7"), sleeper("run77"), subprocess.Popen(SLEEPER)
    try:
        wait_until(lambda: strays.of_run("run7") == [mine.pid])
        assert strays.kill_others("run7", 5.0) == [] and mine.poll() is None  # started by us
        assert strays.kill_run("run7", 5.0) == []
        assert mine.wait(5) == -signal.SIGKILL
        assert longer.poll() is None and other.poll() is None
    finally:
        for process in (mine, longer, other):
            process.kill()
            process.wait()


def test_a_group_of_another_session_is_not_touched():
    inside = subprocess.Popen(SLEEPER, process_group=0)
    outside = subprocess.Popen(SLEEPER, start_new_session=True)
    try:
        strays.kill_group(outside.pid)
        strays.kill_group(inside.pid)
        assert inside.wait(5) == -signal.SIGKILL
        assert outside.poll() is None
    finally:
        for process in (inside, outside):
            process.kill()
            process.wait()


def test_the_agent_leaves_if_its_driver_is_not_its_parent():
    """As when the driver died before the agent was up, and its number went to another process."""
    os.close(watch_parent(os.getppid()))
    with pytest.raises(RuntimeError, match="ended before"):
        watch_parent(os.getpid())
