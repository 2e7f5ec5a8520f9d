"""Roles and a Program of one's own: the cross-entropy method on CartPole, from actors alone.

             tries (weights, return)
  player/0..N  ==============>  searcher/0
       ^                            |
       '---------- search ----------'   (mean and deviation of weights, the newest version)

Of every 50 tries the best 15 say, by mean and deviation, what is tried next. No player waits.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from actorrl import Actor, Cluster, Program, State, Stream, remote

TRIES, BEST, NOISE = 50, 15, 0.5


class Player(Actor):
    def on_start(self) -> None:
        self.env = gym.make("CartPole-v1")
        self.random = np.random.default_rng(self.context.index)

    def step(self) -> None:
        """Called whenever the stream has credit and the state has a version."""
        _, search = self.context.state("search").read()
        weights = self.random.normal(search["mean"], search["deviation"])
        obs, _ = self.env.reset(seed=int(self.random.integers(2**31)))
        total, over = 0.0, False
        while not over:
            obs, reward, terminated, truncated, _ = self.env.step(int(obs @ weights > 0))
            total, over = total + float(reward), terminated or truncated
        self.context.stream("tries").send({"return": total}, {"weights": weights})


class Searcher(Actor):
    def on_start(self) -> None:
        self.tries: list[tuple[float, np.ndarray]] = []
        self.version, self.mean_return = 0, 0.0
        self.publish(np.zeros(4), np.ones(4))

    def publish(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        self.version += 1
        arrays = {"mean": mean, "deviation": deviation + NOISE / self.version}
        self.context.publisher("search").publish(self.version, arrays)

    def on_tries(self, item: Any) -> None:
        """Called with each element of the stream; its arrays are ours until we return."""
        self.tries.append((item.body["return"], item.arrays["weights"].copy()))
        if len(self.tries) == TRIES:
            self.mean_return = float(np.mean([returned for returned, _ in self.tries]))
            best = np.array([w for _, w in sorted(self.tries, key=lambda t: -t[0])[:BEST]])
            self.tries = []
            self.publish(best.mean(0), best.std(0))

    @remote
    def progress(self) -> float:
        return self.mean_return


def train(until: float = 475.0, num_players: int = 2) -> float:
    """The mean return of 50 tries, once it is at least so much."""
    program = Program("cross-entropy")
    players = program.add_group("player", Player, count=num_players)
    searcher = program.add("searcher", Searcher)
    program.link("tries", Stream(credit=1, full="wait"), players, searcher)
    program.link("search", State(), searcher, players)
    with Cluster(program) as cluster:
        while (reached := float(searcher.progress.call().result())) < until:
            cluster.poll(0.2)
    return reached


if __name__ == "__main__":
    print(train())
