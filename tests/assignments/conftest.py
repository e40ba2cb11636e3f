"""How the tests of the assignments are shared among processes."""

import re

from xdist.scheduler import LoadScopeScheduling


class ByAssignment(LoadScopeScheduling):
    """All tests of an assignment run in one process, which has it graded once.

    A class for this and not `--dist loadgroup`, which with pytest 9.2 shares out what should stay together
    (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        parameter = re.search(r"\[(a\d-[a-z-]+)", nodeid)
        return parameter[1] if parameter else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config, log):
    return ByAssignment(config, log)
