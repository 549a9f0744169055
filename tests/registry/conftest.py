"""What most tests of a push need: a registry that does as it is told, and a push that does not wait long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted import Scripted, scripted_registry

from buildopt.registry import retry


@pytest.fixture
def registry() -> Iterator[Scripted]:
    with scripted_registry() as scripted:
        yield scripted


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
