"""Actors as processes: how they die and come back, and what is asked of them meanwhile."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from actorrl.errors import ActorDied, CallError, CallTimeout, ProgramError, RemoteError, RunFailed
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.program import Program, Restart
from actorrl.runtime.refs import gather
from actorrl.runtime.slots import Policy
from tests.runtime.clusters import (
    PATIENCE_S,
    QUICK,
    Worker,
    cluster_of,
    is_alive,
    left_of,
    program,
    rows,
    wait_until,
    wait_until_back,
)

# ---- death and restart ----------------------------------------------------------------------


def test_a_killed_actor_is_back_under_its_name_and_the_others_never_noticed():
    events: list[dict] = []
    with cluster_of(3, on_event=events.append) as cluster:
        workers = [cluster.ref(f"worker/{index}") for index in range(3)]
        gather([worker.add.call(5) for worker in workers])
        before = rows(cluster)
        os.kill(before["worker/1"]["pid"], signal.SIGKILL)
        wait_until(lambda: rows(cluster)["worker/1"]["pid"] != before["worker/1"]["pid"])
        assert workers[1].add.call().result() == 1  # waits until it is up again; state is lost
        wait_until(lambda: cluster.num_ready("worker") == 3)
        assert [w.add.call().result() for w in (workers[0], workers[2])] == [6, 6]
        after = rows(cluster)
        for name in ("agent/local", "worker/0", "worker/2"):
            assert after[name] == before[name]
        back = after["worker/1"]
        assert (back["incarnation"], back["restarts"], back["state"]) == (2, 1, "ready")
        assert back["last_error"] == "killed by signal 9 (SIGKILL)"
        assert cluster.num_restarts() == 1 and cluster.num_ready("worker") == 3
    (why,) = [event for event in events if event["event"] == "actor_exited"]
    assert why["actor"] == "worker/1" and why["pid"] == before["worker/1"]["pid"]
    assert why["reason"] == "killed by signal 9 (SIGKILL)"
    kinds = [event["event"] for event in events if event.get("actor") == "worker/1"]
    assert kinds == [
        "actor_started",
        "actor_ready",
        "actor_exited",
        "actor_restarted",
        "actor_ready",
    ]


def test_calls_to_an_actor_that_is_being_restarted_wait_and_succeed():
    with cluster_of(2) as cluster:
        worker = cluster.ref("worker/0")
        with pytest.raises(ActorDied, match="died during exit") as caught:
            worker.exit.call(1).result()
        assert caught.value.executed == "maybe"
        assert gather([worker.add.call() for _ in range(5)]) == [1, 2, 3, 4, 5]


def test_one_actor_reaches_another_again_after_its_restart():
    class Asker(Actor):
        def __init__(self, other) -> None:
            self.other = other

        @remote
        def ask(self) -> int:
            return self.other.add.call().result()

        @remote
        def ask_twice_over_a_death(self) -> int:
            try:
                self.other.exit.call(1).result()
            except ActorDied:
                return self.other.add.call().result()
            return -1

    program = Program("test")
    worker = program.add("worker", Worker)
    asker = program.add("asker", Asker, worker)
    with Cluster(program, policy=QUICK):
        assert [asker.ask.call().result() for _ in range(2)] == [1, 2]
        assert asker.ask_twice_over_a_death.call().result() == 1


def test_an_error_of_a_call_ends_nobody_and_one_of_a_tell_ends_the_actor():
    with cluster_of() as cluster:
        worker = cluster.ref("worker/0")
        with pytest.raises(RemoteError, match="ValueError: a"):
            worker.raise_.call("a").result()
        assert rows(cluster)["worker/0"]["restarts"] == 0
        worker.raise_.tell("told")
        wait_until_back(cluster)
        assert rows(cluster)["worker/0"]["last_error"] == "ValueError: told"
        assert worker.add.call().result() == 1


@pytest.mark.parametrize(
    ("restart", "code", "comes_back"),
    [
        (Restart.PERMANENT, 0, True),
        (Restart.TRANSIENT, 0, False),
        (Restart.TRANSIENT, 3, True),
        (Restart.TEMPORARY, 3, False),
    ],
)
def test_an_actor_that_ends_itself_comes_back_as_its_restart_kind_says(restart, code, comes_back):
    with cluster_of(1, restart=restart) as cluster:
        cluster.ref("worker/0").leave.tell(code)
        expected = ("ready", 2) if comes_back else ("stopped", 1)
        wait_until(
            lambda: (
                tuple(rows(cluster)["worker/0"][k] for k in ("state", "incarnation")) == expected
            )
        )


def test_an_actor_that_cannot_be_started_ends_the_run_with_the_one_cause(tmp_path, run_id):
    class Broken(Actor):
        def on_start(self) -> None:
            raise LookupError("no such thing\nat all")

    events: list[dict] = []
    cluster = cluster_of(2, Broken, on_event=events.append, log_dir=tmp_path, run_id=run_id)
    with pytest.raises(RunFailed, match="failed 3 times: LookupError: no such thing") as caught:
        cluster.start()
    text = str(caught.value)
    assert "in on_start" in text
    (log,) = re.findall(r"its log: (.*)", text)
    assert "no such thing" in Path(log).read_text()
    assert left_of(run_id) == []
    (failed,) = [event for event in events if event["event"] == "run_failed"]
    assert "LookupError" in failed["reason"]


def test_a_process_that_dies_without_a_word_shows_the_end_of_its_log(tmp_path):
    class Silent(Actor):
        def on_start(self) -> None:
            print("out of luck", flush=True)
            os._exit(3)

    (tmp_path / "worker-0.log").write_text("words of an earlier run\n")
    with pytest.raises(RunFailed, match="exit code 3: out of luck") as caught:
        cluster_of(1, Silent, log_dir=tmp_path).start()
    assert "earlier run" not in str(caught.value)


def test_a_crash_in_c_is_told_with_the_python_stack(tmp_path):
    class Crashing(Actor):
        def on_start(self) -> None:
            os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(RunFailed, match="SIGSEGV") as caught:
        cluster_of(1, Crashing, log_dir=tmp_path).start()
    assert "in on_start" in str(caught.value)


def test_an_actor_that_never_gets_ready_is_killed_and_the_reason_says_so():
    class Stuck(Actor):
        def on_start(self) -> None:
            time.sleep(1000)

    policy = Policy(start_timeout_s=0.5, backoff_s=0.01)
    with pytest.raises(RunFailed, match=r"failed 3 times: not ready within 0.5 s"):
        cluster_of(1, Stuck, policy=policy).start()


def test_who_is_to_be_killed_before_its_process_is_there_is_killed_then(tmp_path, monkeypatch):
    (tmp_path / "slow_module.py").write_text("import time; time.sleep(1.6)")
    monkeypatch.syspath_prepend(tmp_path)
    events: list[dict] = []
    policy = Policy(start_timeout_s=1.2, backoff_s=0.01, max_restarts=50, same_failure_limit=50)
    with cluster_of(1, preload=("slow_module",), policy=policy, on_event=events.append) as cluster:
        ends = [event["reason"] for event in events if event["event"] == "actor_exited"]
        assert ends[0] == "not ready within 1.2 s, its `start_timeout_s`"
        os.kill(cluster.ref("worker/0").pid.call().result(), signal.SIGKILL)
        count = cluster.num_restarts()
        wait_until(lambda: cluster.num_restarts() > count)
        last = [event["reason"] for event in events if event["event"] == "actor_exited"][-1]
        assert "SIGKILL" in last, "and not a reason of before"


def test_a_start_that_takes_too_long_names_who_is_late(run_id):
    class Slow(Actor):
        def on_start(self) -> None:
            if self.context.index == 1:
                time.sleep(1000)

    with pytest.raises(RunFailed, match=r"not ready within 5 s \(.*\): worker/1$"):
        cluster_of(2, Slow, run_id=run_id).start(timeout_s=5.0)
    assert left_of(run_id) == []


def test_what_cannot_be_sent_to_a_process_is_said_before_anything_starts(run_id):
    with pytest.raises(ProgramError, match=r"worker/0: Holder .* on_start"):
        cluster_of(1, Holder, run_id=run_id, lock=threading.Lock()).start()
    assert left_of(run_id) == []


class Holder(Actor):
    def __init__(self, lock) -> None:
        self.lock = lock


# ---- calls ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["wait_for", "compute_until"])
def test_the_control_lane_answers_while_the_main_loop_is_busy(method, tmp_path):
    with cluster_of() as cluster:
        worker = cluster.ref("worker/0")
        worker.add.call(7).result()
        busy = getattr(worker, method).call(str(tmp_path / "enough"))
        assert [worker.look.call().result() for _ in range(3)] == [7, 7, 7]
        assert not busy.done()
        (tmp_path / "enough").touch()
        busy.result()


def test_a_control_call_outlasts_a_call_into_c_that_holds_the_gil():
    with cluster_of() as cluster:
        worker = cluster.ref("worker/0")
        busy = worker.hold_the_gil.call(2_000_000)
        assert worker.look.call().result() == 0
        assert busy.result() > 100_000


def test_an_expired_call_is_dropped_before_it_runs():
    with cluster_of() as cluster:
        worker = cluster.ref("worker/0")
        busy = worker.sleep.call(0.5)
        time.sleep(0.2)  # it is busy now: the next call lies unread in its socket
        with pytest.raises(CallTimeout) as caught:
            worker.add.within(0.1).call(100).result()
        assert caught.value.executed == "maybe"  # nothing was heard: the caller cannot know
        assert worker.add.call(1).result() == 1 and busy.result() == 0.5


def test_two_threads_of_the_driver_share_the_door(tmp_path):
    with cluster_of(2) as cluster:
        slow, fast = cluster.ref("worker/0"), cluster.ref("worker/1")
        busy = slow.wait_for.call(str(tmp_path / "enough"))
        waiting = threading.Thread(target=busy.result)
        waiting.start()
        assert [fast.add.call().result() for _ in range(100)] == list(range(1, 101))
        assert waiting.is_alive()
        (tmp_path / "enough").touch()
        waiting.join(PATIENCE_S)
        assert busy.done() and not waiting.is_alive()


def test_many_threads_calling_at_once_each_get_their_own_answers():
    with cluster_of(2) as cluster:
        workers = [cluster.ref("worker/0"), cluster.ref("worker/1")]
        wrong: list[object] = []

        def ask(number: int) -> None:
            for index in range(50):
                value = number * 1000 + index
                if workers[index % 2].sleep.call(value * 1e-9).result() != value * 1e-9:
                    wrong.append(value)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            cluster.poll(0.01)
        for thread in threads:
            thread.join()
        assert wrong == []


def test_a_thread_that_waits_is_told_when_the_run_is_stopped():
    cluster = cluster_of()
    cluster.start()
    errors: list[Exception] = []
    future = cluster.ref("worker/0").sleep.call(100)

    def wait() -> None:
        try:
            future.result()
        except CallError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    cluster.stop(grace_s=0.1)
    thread.join(10)
    assert not thread.is_alive() and "stopped" in str(errors[0])


# ---- what surrounds an actor ----------------------------------------------------------------


def test_an_actor_lives_in_an_environment_that_names_its_run(run_id):
    with cluster_of(1, run_id=run_id) as cluster:
        environment = cluster.ref("worker/0").environment.call().result()
        assert environment["ACTORRL_RUN_ID"] == run_id
        assert environment["OMP_NUM_THREADS"] == "1"
        assert environment["CUDA_VISIBLE_DEVICES"] == ""
        pid = cluster.ref("worker/0").pid.call().result()
        assert f"ACTORRL_RUN_ID={run_id}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        assert os.getpgid(pid) == pid and os.getsid(pid) != os.getsid(0)
        assert "ACTORRL_RUN_ID" not in os.environ


def test_a_users_choice_of_threads_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with cluster_of() as cluster:
        environment = cluster.ref("worker/0").environment.call().result()
        assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("3", "1")


def test_what_the_program_names_was_imported_before_the_fork(tmp_path):
    names = ("colorsys", "actorrl_no_such_module", "this")
    with cluster_of(1, preload=names, log_dir=tmp_path) as cluster:
        worker = cluster.ref("worker/0")
        assert worker.modules.call(*names, "wave").result() == ["colorsys", "this"]
        assert "ACTORRL_PRELOAD" not in worker.environment.call().result()
    log = (tmp_path / "agent-local.log").read_text()
    assert "warning: preload of 'actorrl_no_such_module' failed" in log
    assert "ModuleNotFoundError" in log and "preload of 'colorsys'" not in log


def test_what_actors_share_is_no_garbage_to_look_for_and_their_own_is():
    class Collector(Actor):
        @remote
        def ask(self) -> tuple[bool, int]:
            return gc.isenabled(), gc.get_freeze_count()

    program = Program("test")
    collector = program.add("collector", Collector)
    with Cluster(program, policy=QUICK):
        collects, num_shared = collector.ask.call().result()
    assert collects and num_shared > 10_000


@pytest.mark.parametrize("text", ["1 / 0", "import sys; sys.exit(3)"])
def test_a_preloaded_module_that_raises_is_a_warning_and_the_actors_start(
    tmp_path, monkeypatch, text
):
    (tmp_path / "bad_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with cluster_of(1, preload=("bad_module",), log_dir=tmp_path) as cluster:
        assert cluster.ref("worker/0").add.call().result() == 1
    assert "preload of 'bad_module' failed" in (tmp_path / "agent-local.log").read_text()


def test_a_preloaded_module_that_starts_threads_is_a_warning(tmp_path, monkeypatch):
    text = "import threading, time\nthreading.Thread(target=time.sleep, args=(9,)).start()"
    (tmp_path / "busy_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with cluster_of(1, preload=("busy_module",), log_dir=tmp_path):
        pass
    assert "preloading started 1 threads" in (tmp_path / "agent-local.log").read_text()


def test_the_working_directory_hides_no_module(tmp_path, monkeypatch):
    for name in ("zmq", "random", "msgspec"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('hidden')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    with cluster_of() as cluster:
        assert cluster.ref("worker/0").add.call().result() == 1


def test_two_clusters_of_one_program_live_side_by_side():
    value = program(1)
    with Cluster(value) as first, Cluster(value) as second:
        assert first.ref("worker/0").add.call(5).result() == 5
        assert second.ref("worker/0").add.call(1).result() == 1
        assert first.ref("worker/0").add.call(1).result() == 6


def test_an_actor_writes_its_output_and_its_stack_into_its_log(tmp_path):
    marker = tmp_path / "marker"

    class Talker(Actor):
        @remote
        def talk(self) -> None:
            print("hello from the actor")

        @remote
        def wait_in_a_place_of_its_own(self) -> None:
            while not marker.exists():
                time.sleep(0.01)

    with cluster_of(1, Talker, log_dir=tmp_path) as cluster:
        cluster.ref("worker/0").talk.call().result()
        busy = cluster.ref("worker/0").wait_in_a_place_of_its_own.call()

        def shows_where_it_is() -> bool:
            cluster.dump_stack("worker/0")
            return "in wait_in_a_place_of_its_own" in (tmp_path / "worker-0.log").read_text()

        wait_until(shows_where_it_is)
        marker.touch()
        busy.result()
    assert "hello from the actor\n" in (tmp_path / "worker-0.log").read_text()


def test_a_stack_is_not_asked_of_who_has_taken_the_signal_away(tmp_path):
    class Taker(Worker):
        @remote
        def take(self) -> None:
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    with cluster_of(1, Taker, log_dir=tmp_path) as cluster:
        cluster.ref("worker/0").take.call().result()
        cluster.dump_stack("worker/0")
        log = tmp_path / "worker-0.log"
        wait_until(lambda: "its environment has taken SIGUSR1 away" in log.read_text())
        assert cluster.ref("worker/0").add.call().result() == 1
        assert cluster.num_restarts() == 0


# ---- an actor's own processes ---------------------------------------------------------------


def test_the_processes_that_an_actor_started_end_with_it():
    with cluster_of(2) as cluster:
        worker = cluster.ref("worker/0")
        child, other = worker.spawn.call().result(), cluster.ref("worker/1").spawn.call().result()
        os.kill(worker.pid.call().result(), signal.SIGKILL)
        wait_until(lambda: not is_alive(child))
        wait_until_back(cluster)
        assert worker.add.call().result() == 1 and is_alive(other)
    assert not is_alive(other)


def test_a_program_that_left_the_actors_session_ends_with_the_actor():
    with cluster_of(2) as cluster:
        worker, other = cluster.ref("worker/0"), cluster.ref("worker/1")
        child, others = (each.spawn.call(new_session=True).result() for each in (worker, other))
        os.kill(worker.pid.call().result(), signal.SIGKILL)
        wait_until(lambda: not is_alive(child))
        wait_until_back(cluster)
        assert worker.add.call().result() == 1 and is_alive(others)


def test_a_process_that_left_the_actors_session_ends_with_the_run(run_id):
    with cluster_of(1, run_id=run_id) as cluster:
        child = cluster.ref("worker/0").spawn.call(new_session=True).result()
        assert is_alive(child)
    assert not is_alive(child) and left_of(run_id) == []
