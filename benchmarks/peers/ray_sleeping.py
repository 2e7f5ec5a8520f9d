"""Ray's actors whose environment only waits, as the question `sleeping` has ours: a line `W S` asks
for the env steps per second of W actors that sleep S seconds a step."""

import json
import os
import sys
import time

import psutil
import ray

WINDOW_S = 10.0
IN_FLIGHT = 2  # calls of an actor, as our stream's credit


@ray.remote(num_cpus=0)
class Sleeper:
    def fragment(self, steps, step_s):
        for _ in range(steps):
            time.sleep(step_s)
        return steps


def cpu_s():
    own = psutil.Process(os.getpid())
    total = 0.0
    for process in [own, *own.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def pss_mib():
    own = psutil.Process(os.getpid())
    total = 0
    for process in [own, *own.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 2**20


class Crew:
    """Actors that are always busy."""

    def __init__(self, count, step_s):
        self.steps = 50 if step_s < 0.05 else 10
        self.step_s = step_s
        self.waiting = {}
        for sleeper in [Sleeper.remote() for _ in range(count)]:
            for _ in range(IN_FLIGHT):
                self.ask(sleeper)

    def ask(self, sleeper):
        self.waiting[sleeper.fragment.remote(self.steps, self.step_s)] = sleeper

    def take(self):
        """Env steps of all that are done, one at least."""
        done, rest = ray.wait(list(self.waiting), num_returns=1)
        if rest:
            done += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        steps = sum(ray.get(done))
        for ref in done:
            self.ask(self.waiting.pop(ref))
        return steps


def window(crew):
    before, started, steps = cpu_s(), time.monotonic(), 0
    while time.monotonic() - started < WINDOW_S:
        steps += crew.take()
    per_1000 = (cpu_s() - before) / max(1, steps) * 1000
    value = steps / (time.monotonic() - started)
    return {"value": value, "cpu_s_per_1000": per_1000, "pss_mib": pss_mib()}


def main():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    for line in sys.stdin:
        count, step_s = line.split()
        crew = Crew(int(count), float(step_s))
        ready = 0
        while ready < 2 * int(count) * crew.steps:  # everybody has started, and worked
            ready += crew.take()
        print(json.dumps(window(crew)), flush=True)


if __name__ == "__main__":
    main()
