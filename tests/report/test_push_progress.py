"""A push as lines of a log."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from buildopt.oci.descriptor import Digest
from buildopt.registry.outcome import BlobDone, Done, Outcome, Problem, Started
from buildopt.report import push

NAME = "ghcr.io/acme/app"


def lines(*, everything: bool) -> list[str]:
    told: list[str] = []
    with push.plain_progress(told.append, everything=everything) as show:
        show(Started(NAME, 5_000_700))
        show(BlobDone(NAME, Digest("sha256", "a" * 64), 5_000_000, "sent"))
        for number in range(7):
            show(BlobDone(NAME, Digest("sha256", f"{number}" * 64), 100, "sent"))
        show(BlobDone(NAME, Digest("sha256", "b" * 64), 9_000_000, "present"))
        show(Done(Outcome(f"{NAME}:1", "sha256:x", False, bytes_sent=5_000_700, bytes_present=9_000_000, seconds=2.0)))
        show(Done(Outcome(f"{NAME}:2", "sha256:x", False, Problem("server", "it failed", ""))))
    return told


def test_only_large_blobs_have_a_line_and_each_destination_one() -> None:
    first, blob, *done = lines(everything=False)
    assert first == f"{NAME}: 5.0 MB in blobs" and blob.endswith("5.0 MB sent") and "aaaa" in blob
    assert done == [f"{NAME}:1: pushed (5.0 MB sent, 9.0 MB already there, 2.0 s)", f"{NAME}:2: NOT PUSHED"]


def test_verbose_tells_of_every_blob() -> None:
    assert len(lines(everything=True)) == 1 + 9 + 2


def test_a_slow_blob_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    clock = iter((0.0, 1.5, 1.6))
    monkeypatch.setattr("buildopt.report.push.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with push.plain_progress(told.append) as show:
        show(Started(NAME, 100))
        show(BlobDone(NAME, Digest("sha256", "a" * 64), 100, "sent"))
        show(BlobDone(NAME, Digest("sha256", "b" * 64), 100, "sent"))
    assert len(told) == 2
