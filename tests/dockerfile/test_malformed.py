"""Malformed files: a few hundred of those that ``nox -s fuzz`` makes, and those that once did harm."""

from __future__ import annotations

import fuzz
import malformed
import pytest

SEED, COUNT = 20, 400


def test_files_are_the_same_each_time() -> None:
    first = [malformed.make(SEED, number) for number in range(60)]
    assert first == [malformed.make(SEED, number) for number in range(60)]
    assert first != [malformed.make(SEED + 1, number) for number in range(60)]


def test_every_kind_is_made() -> None:
    kinds = {malformed.name(SEED, number) for number in range(COUNT)}
    assert kinds == {kind.__name__ for kind in malformed.KINDS}


def test_nothing_makes_the_linter_fail() -> None:
    outcomes, growth = fuzz.run(COUNT, SEED, jobs=2)
    assert len(outcomes) == COUNT
    assert [(outcome.number, outcome.failure) for outcome in outcomes if outcome.failure] == []
    assert growth < fuzz.LIMIT_MEGABYTES


def test_a_file_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(fuzz.TooSlow), fuzz.at_most(0.05):
        while True:
            pass


@pytest.mark.parametrize("unit", [")", "} ", ") ", "|", "<<<", "a) "])
def test_marks_by_the_thousand_are_given_up(unit: str) -> None:
    with fuzz.at_most(fuzz.LIMIT_SECONDS):
        fuzz.lint_one(f"FROM debian:12\nCMD {unit * (65000 // len(unit))}\n".encode())
