"""Ray's actor calls, as the question `calls` asks them. Runs under Ray's own Python."""

import json
import statistics
import sys
import time

import ray

CALLS, PIPELINED, IN_FLIGHT = 1000, 3000, 100


@ray.remote
class Counter:
    def __init__(self):
        self.total = 0

    def add(self, amount):
        self.total += amount
        return self.total


def round_trip(counter):
    seconds = []
    for _ in range(CALLS):
        started = time.perf_counter()
        ray.get(counter.add.remote(1))
        seconds.append(time.perf_counter() - started)
    return {"value": statistics.median(seconds) * 1e6}


def pipelined(counter):
    started = time.perf_counter()
    for _ in range(PIPELINED // IN_FLIGHT):
        ray.get([counter.add.remote(1) for _ in range(IN_FLIGHT)])
    return {"value": PIPELINED / (time.perf_counter() - started)}


def main():
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
    counter = Counter.remote()
    for line in sys.stdin:
        print(json.dumps(globals()[line.strip()](counter)), flush=True)


if __name__ == "__main__":
    main()
