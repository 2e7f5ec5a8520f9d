"""What a Program may rely on under every launcher, as checks that a test runs over each of them:

    @pytest.fixture(params=conformance.LAUNCHERS)
    def launcher(request): return request.param

    @pytest.mark.parametrize("check", conformance.CHECKS)
    def test_launcher(launcher, check): check(launcher)

Each check builds a small Program, runs it, and asserts. To test a new launcher, add its name. The
checks are in `call_checks` and `link_checks`.
"""

from __future__ import annotations

from actorrl.testing import call_checks, link_checks
from actorrl.testing.checking import CHECKS

LAUNCHERS = ("inproc", "local")

__all__ = ["CHECKS", "LAUNCHERS", "call_checks", "link_checks"]
