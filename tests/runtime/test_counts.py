"""How many actors a role has, as tables."""

from __future__ import annotations

import pytest

from actorrl.runtime.counts import counted, default_workers, learner_cores, role_count, with_roles
from actorrl.runtime.host_specs import ClusterSpec, ResourceSpec, RoleSpec
from actorrl.runtime.hosts import load_cluster

FOUR = ClusterSpec(roles={"rollout": RoleSpec(count=4), "replay": RoleSpec(mem=1)})


@pytest.mark.parametrize(
    ("role", "given", "count"),
    [("rollout", 7, 7), ("rollout", None, 4), ("replay", None, 9), ("learner", None, 9)],
)
def test_what_is_given_goes_before_the_list_and_that_before_the_rest(role, given, count):
    assert role_count(FOUR, role, given, otherwise=9) == count


@pytest.mark.parametrize(
    ("hosts", "workers"),
    [
        ("[local]", 5),
        ("[a]", 1),
        ("[local, a, b]", 7),
        ("[{host: local, resources: {cpu: 1}}]", 1),
        ("[{host: 'a[1-4]', resources: {cpu: 8}}]", 31),
        ("[local, {host: 'a[1-4]', resources: {cpu: 8}, roles: [rollout]}]", 32),
        ("[{host: local, roles: [learner]}, {host: a, resources: {cpu: 3}}]", 2),
        ("[{host: a, resources: {cpu: 3}, roles: [rollout, learner]}, local]", 2),
    ],
)
def test_workers_take_the_cores_that_learners_leave(hosts, workers, tmp_path):
    path = tmp_path / "hosts.yml"
    path.write_text(f"hosts: {hosts}")
    assert default_workers(load_cluster(path, ssh_config=None), cores_here=6) == workers


@pytest.mark.parametrize(
    ("hosts", "workers", "cores"),
    [
        ("[local]", 4, 2),
        ("[local]", 9, 1),
        ("[{host: local, roles: [learner]}, a]", 99, 6),
        ("[{host: local, resources: {cpu: 8}}, {host: a, resources: {cpu: 8}}]", 6, 5),
        ("[{host: a, roles: [learner], resources: {cpu: 3}}, local]", 9, 3),
        ("[{host: local, roles: [rollout]}]", 2, 1),
    ],
)
def test_a_learner_has_the_cores_that_rollouts_leave_on_its_host(hosts, workers, cores, tmp_path):
    path = tmp_path / "hosts.yml"
    path.write_text(f"hosts: {hosts}")
    assert learner_cores(load_cluster(path, ssh_config=None), 6, workers) == cores


def test_cores_that_were_counted_take_the_place_of_auto():
    spec = load_cluster("local:3,a,b", ssh_config=None)
    local, a, b = counted(spec, {"local": 8, "a": 16}).hosts
    assert local.resources.cpu == 3 and a.resources == ResourceSpec(cpu=16)
    assert b == spec.hosts[2]
    assert default_workers(counted(spec, {"a": 16}), 2) == 3 + 16 + 1 - 1


def test_settings_are_written_over_the_roles_of_the_list():
    said = {
        "rollout": {"cpu": 2.0, "count": None},
        "learner": {"gpu": 1.0},
        "replay": {"cpu": None},
    }
    assert with_roles(FOUR, said).roles == {
        "rollout": RoleSpec(count=4, cpu=2.0),
        "replay": RoleSpec(mem=1),
        "learner": RoleSpec(gpu=1.0),
    }
