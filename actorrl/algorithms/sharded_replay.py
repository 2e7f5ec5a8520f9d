"""Settings of algorithms whose replay lies in shards, processes of their own: both Ape-X."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from actorrl.algorithms.replay_config import ReplayConfig
from actorrl.envs.check import EnvInfo
from actorrl.replay.buffer import BufferSettings
from actorrl.replay.frame_store import frames_for
from actorrl.roles.replay_shard import ShardSettings
from actorrl.runtime.counts import role_count

ReplayShards = Annotated[
    Annotated[int, Meta(ge=1)] | None,
    Meta(
        description="replay processes; null: the host list's `replay`, else 2",
        extra={"unit": "processes"},
    ),
]


class ShardedReplayConfig(ReplayConfig):
    """The last base of both Ape-X, behind the one with the settings of their update: a Config takes
    fields from one base alone, and defaults from the first. So this one has no field, and each
    Ape-X has `num_replay_shards: ReplayShards = None`."""

    if TYPE_CHECKING:
        num_replay_shards: int | None = None

    ALIASES: ClassVar[dict[str, str]] = {
        **ReplayConfig.ALIASES,
        "num_replay_buffer_shards": "num_replay_shards",
    }

    def validate(self) -> list[str]:
        lines = super().validate()
        shards = self.resolved_num_shards() if not lines else self.num_replay_shards or 1
        return lines + self._shard_lines(shards)

    def _shard_lines(self, num_shards: int) -> list[str]:
        """What is wrong with the sizes of shards."""
        if self.storage == "cuda":
            return [
                "storage: cuda keeps frames beside the learner's own buffer, and shards are"
                " processes without a GPU, expected raw or lz4"
            ]
        rows = self.least_capacity()
        capacity = rows // num_shards
        if self.train_batch_size <= capacity:
            return []
        return [
            f"train_batch_size: {self.train_batch_size} rows cannot come from a shard of"
            f" {rows} / {num_shards} rows, expected at most {capacity}"
        ]

    def resolved_num_shards(self) -> int:
        return role_count(self.cluster_spec(), "replay", self.num_replay_shards, 2)

    def buffer(self, info: EnvInfo) -> tuple[str, BufferSettings]:
        return "replay", self.shard(info, 0, self.resolved_num_shards())

    def shard(self, info: EnvInfo, seed: int, num_shards: int) -> ShardSettings:
        """A shard's part of everything that counts rows."""
        rows = self.fragment_length() * self.num_envs()
        overlap = self.frame_overlap(info)
        filters = self.observation_filter != "NoFilter"
        num_frames = 0
        if info.frame_stack > 1:
            # Several shards: fragments of a worker alternate, and each brings its lead-in along.
            spare = overlap / rows if num_shards > 1 else 0.0
            wanted = int(self.capacity(info) // num_shards * (1.0 + spare))
            num_frames = frames_for(wanted, rows + overlap, self.resolved_num_workers())
        return ShardSettings(
            capacity=max(1, self.capacity(info) // num_shards),
            alpha=self.prioritized_replay_alpha if self.prioritized_replay else None,
            eps=self.prioritized_replay_eps,
            min_size=max(1, self.learning_starts // num_shards),
            samples_per_insert=self.samples_per_insert,
            # Two fragments or two batches ahead, whichever is more: neither side runs in lock-step.
            tolerance=2.0 * max(self.samples_per_insert * rows, self.train_batch_size),
            seed=seed,
            num_frames=num_frames,
            storage=self.storage_for(info),
            overlap_frames=overlap,
            filtered_shape=info.observation_space.shape if filters else None,
        )

    def explores_little(self, env_index: int) -> bool:
        """Of a ladder of exploration, the third of the environments that explore least: their
        episodes are reported, as RLlib's."""
        num_envs = self.num_envs_total()
        return env_index >= num_envs - max(1, num_envs // 3)
