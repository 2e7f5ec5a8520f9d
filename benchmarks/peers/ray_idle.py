"""Memory of idle Ray with two actors, over what its driver had before."""

import json
import os
import sys
import time

import psutil
import ray


def pss_mib():
    everything = [p for p in psutil.process_iter() if "ray" in " ".join(_words(p))]
    own = psutil.Process(os.getpid())
    return sum(_pss(p) for p in {*everything, own, *own.children(recursive=True)}) / 2**20


def _words(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _pss(process):
    try:
        return process.memory_full_info().pss
    except psutil.Error:
        return 0


@ray.remote
class Counter:
    def add(self, amount):
        return amount


def main():
    before = pss_mib()
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
    counters = [Counter.remote() for _ in range(2)]
    ray.get([counter.add.remote(1) for counter in counters])
    for _ in sys.stdin:
        time.sleep(2)
        print(json.dumps({"value": pss_mib() - before}), flush=True)


if __name__ == "__main__":
    main()
