"""An engine on this machine: what it has is copied from its store, and the artifact shares nothing with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildopt.build import nearby
from buildopt.cli import main
from buildopt.engine.connection import Engine
from buildopt.oci.check import check
from buildopt.oci.layout import open_artifact

pytestmark = pytest.mark.engine


def test_blobs_are_copied_from_the_store(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)
    copied: list[int] = []
    take = nearby.take

    def counting(layout: Path, offered: frozenset[str]) -> int:
        copied.append(take(layout, offered))
        return copied[-1]

    monkeypatch.setattr(nearby, "take", counting)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text("FROM scratch\nCOPY large small /\n")
    (tmp_path / "context/large").write_bytes(os.urandom(3_000_000))
    (tmp_path / "context/small").write_text("small")
    words = ["build-once", "context", "--platforms", "amd64,arm64", "-q", "-o"]
    for output in ("first", "second", "third.tar", "second"):
        assert main([*words, output]) == 0
        assert not [problem for problem in check(open_artifact(tmp_path / output)) if problem.fatal]
    assert copied[1:] == [1, 1, 0], "one layer for both platforms; the last build had it already"
    for path in (tmp_path / "second/blobs/sha256").iterdir():
        assert path.stat().st_nlink == 1 and not path.is_symlink(), (
            "the engine's own file must not be changed by anyone"
        )
    first = {path.name for path in (tmp_path / "first/blobs/sha256").iterdir() if path.stat().st_size > 1_000_000}
    assert first <= {path.name for path in (tmp_path / "second/blobs/sha256").iterdir()}
