"""Makes the helpers of this folder importable for the tests below it, and their generated inputs the same each time."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest
import shellcheck_extra
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("search", deadline=None, max_examples=2000)  # pytest --hypothesis-profile=search
settings.load_profile("same")

# A job in the background ignores Ctrl-C, and so would all that it starts: tests that interrupt must be able to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PORTS = ("tests/engine/test_main_job.py", "tests/engine/test_registries.py")
"""What has registries at the port that their names stand for; there is one of it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--all``: nothing is left out for the time that it takes."""
    parser.addoption("--all", action="store_true", help="also the slower builds: all pairs of dockerfiles/, and more")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several workers, each has an engine of its own, and one of them a file of engine tests as a whole."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Together(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file in PORTS:
                return "ports"
            return file if file.startswith("tests/engine/") else nodeid

    return Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what ``--all`` is for."""
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--all"):
            item.add_marker(pytest.mark.skip(reason="a slower build: pytest --all makes it"))


@pytest.fixture
def with_shellcheck() -> Iterator[None]:
    """The extra ``shellcheck``; without a package registry the test is skipped."""
    with shellcheck_extra.known() as there:
        if not there:
            pytest.skip("the extra shellcheck cannot be installed here")
        yield
