"""Every launcher keeps the promises of the public conformance suite."""

from __future__ import annotations

import pytest

from actorrl.testing import conformance


@pytest.fixture(params=conformance.LAUNCHERS)
def launcher(request):
    return request.param


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_every_launcher(launcher, check):
    check(launcher)
