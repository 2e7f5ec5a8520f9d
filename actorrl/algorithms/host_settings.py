"""The settings that say where a run is carried out, and by how many.

What is set here goes before the roles of the host list, and those before what the machine suggests.
"""

from __future__ import annotations

import os
import shutil
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from actorrl.algorithms.fluent import FluentConfig
from actorrl.algorithms.registry import those_with
from actorrl.errors import ConfigError
from actorrl.offline import dataset
from actorrl.runtime.counts import default_workers, learner_cores, role_count, with_roles
from actorrl.runtime.host_specs import LOCAL, ClusterSpec
from actorrl.runtime.hosts import load_cluster

Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]


class HostSettings(FluentConfig):
    """Base of AlgorithmConfig."""

    learner_differentiates: ClassVar[bool] = True  # else the workers do, or nobody
    several_learners: ClassVar[bool] = False  # whether they can share its batches

    hosts: Annotated[
        Any,
        Meta(
            description="hosts to run on: a cluster.yml, a hostfile, a list such as a:4,b:4, or a "
            "ClusterSpec; null: this machine"
        ),
    ] = None
    num_workers: Annotated[
        Count | None,
        Meta(
            description="rollout workers; 0 runs everything in one process, null: the host list's "
            "`rollout`, else the cores that the learner leaves, as far as a batch has room",
            extra={"unit": "processes"},
        ),
    ] = None
    num_cpus_per_worker: Annotated[
        Amount | None,
        Meta(
            description="cores of a rollout worker, which steer where it goes; null: the host "
            "list's, else 1",
            extra={"unit": "cores"},
        ),
    ] = None
    num_gpus_per_worker: Annotated[
        Amount | None,
        Meta(
            description="GPUs of a rollout worker, or a part of one; null: the host list's, else 0",
            extra={"unit": "devices"},
        ),
    ] = None
    num_gpus: Annotated[
        Amount | None,
        Meta(
            description="GPUs of each learner; null: the host list's `learner`, else 0",
            extra={"unit": "devices"},
        ),
    ] = None
    num_learners: Annotated[
        Count | None,
        Meta(
            description="learners that share each train batch, on one host; 0 is 1, null: the host "
            "list's `learner`, else 1",
            extra={"unit": "processes"},
        ),
    ] = None

    num_learner_threads: (
        Annotated[int, Meta(ge=1, description="torch threads of each learner; null: free cores")]
        | None
    ) = None

    torch_compile_learner: Annotated[
        bool,
        Meta(
            description="the learner's networks go through torch's compiler, which takes up to a "
            "minute at the start; on a CPU Atari's network gains nothing from it"
        ),
    ] = False
    cuda_graphs: Annotated[
        bool,
        Meta(
            description="the learner's networks run as CUDA graphs, compiled: for small networks, "
            "whose time on a GPU is that of starting kernels"
        ),
    ] = False

    output: Annotated[
        str | None,
        Meta(description="folder into which the workers record what they live through (a dataset)"),
    ] = None

    def read_settings(self) -> list[str]:
        """Read a host list that is still a path or text; what is wrong with it."""
        if self.hosts is None or isinstance(self.hosts, ClusterSpec):
            return []
        try:
            self.put("hosts", load_cluster(self.hosts))
        except ConfigError as error:
            return error.messages
        return []

    def validate(self) -> list[str]:
        lines = self.read_settings()
        if not lines and self.num_workers == 0 and self.cluster_spec().remote_hosts:
            lines.append(
                "num_workers: 0 runs everything in one process of this machine, expected >= 1 "
                "with other hosts"
            )
        if not lines and self.output is not None:
            lines += self._output_lines(self.output)
        if self.compile_mode() and not self.learner_differentiates:
            key = "cuda_graphs" if self.cuda_graphs else "torch_compile_learner"
            lines.append(
                f"{key}: the learner of this algorithm passes nothing through its network, expected"
                " false"
            )
        if not lines and (self.num_learners or 1) > 1:
            lines += self._several_learners_lines()
        if not lines and self.cuda_graphs and not self.resolved_num_gpus():
            lines.append(
                "cuda_graphs: the learner has no GPU (num_gpus is 0), expected false, or num_gpus 1"
            )
        if self.compile_mode() and shutil.which("c++") is None and shutil.which("g++") is None:
            lines.append(
                "torch_compile_learner: torch's compiler needs a C++ compiler, and there is neither"
                " c++ nor g++ on PATH, expected false"
            )
        return lines

    def _output_lines(self, output: str) -> list[str]:
        if output == "logdir":
            return [
                "output: 'logdir' is RLlib's word for the run's folder, expected the path of a"
                " folder ('./logdir' for one of that name)"
            ]
        why = None if self.cluster_spec().remote_hosts else dataset.why_unwritable(output)
        return [f"output: nothing can be recorded there ({why})"] if why is not None else []

    def compile_mode(self) -> Literal["", "default", "reduce-overhead"]:
        """What torch's compiler does with the learner's networks; empty: nothing."""
        if self.cuda_graphs:
            return "reduce-overhead"
        return "default" if self.torch_compile_learner else ""

    def _several_learners_lines(self) -> list[str]:
        """Why there cannot be so many."""
        asked = f"num_learners: {self.num_learners} is not accepted"
        if not self.several_learners:
            able = those_with("several_learners")
            return [f"{asked}, this algorithm has one learner ({able} can have more)"]
        if self.num_workers == 0:
            return [f"{asked} with num_workers: 0, which is one process, expected num_workers >= 1"]
        return []

    def cluster_spec(self) -> ClusterSpec:
        """The hosts of the run, with what is set here written into their roles."""
        spec = load_cluster(LOCAL if self.hosts is None else self.hosts)
        said = {
            "rollout": {
                "count": self.num_workers or None,
                "cpu": self.num_cpus_per_worker,
                "gpu": self.num_gpus_per_worker,
            },
            "learner": {"count": self.num_learners or None, "gpu": self.num_gpus},
        }
        return with_roles(spec, said)

    def resolved_num_workers(self) -> int:
        """Rollout actors: at least one, also with `num_workers=0`, where all share one process."""
        if self.num_workers is not None:
            return max(1, self.num_workers)
        return role_count(self.cluster_spec(), "rollout", None, self.default_num_workers())

    def default_num_workers(self) -> int:
        """What `num_workers: null` means where the host list has no count."""
        return self.most_workers()

    def most_workers(self) -> int:
        """As many as there are cores that the learners leave."""
        cores_here = len(os.sched_getaffinity(0))
        return default_workers(self.cluster_spec(), cores_here, self.resolved_num_learners())

    def resolved_num_learners(self) -> int:
        """At least one. What the host list says counts where there can be several."""
        if not self.several_learners or self.num_workers == 0:
            return 1
        return max(1, role_count(self.cluster_spec(), "learner", self.num_learners, 1))

    def learner_threads(self) -> int:
        """Torch threads of a learner. With one worker per core of its host it has one."""
        if self.num_learner_threads is not None:
            return self.num_learner_threads
        cores_here = len(os.sched_getaffinity(0))
        cores = learner_cores(self.cluster_spec(), cores_here, self.resolved_num_workers())
        return max(1, cores // self.resolved_num_learners())

    def resolved_num_gpus(self) -> float:
        """GPUs of each learner."""
        return self.cluster_spec().role("learner").gpu or 0.0
