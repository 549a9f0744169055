"""Tables of words: none was cut in two where a line was broken."""

from __future__ import annotations

import importlib
import pkgutil

import buildopt.dockerfile


def test_no_word_of_a_table_was_cut_at_its_hyphen() -> None:
    tables = 0
    for found in pkgutil.walk_packages(buildopt.dockerfile.__path__, "buildopt.dockerfile."):
        for name, value in vars(importlib.import_module(found.name)).items():
            if not isinstance(value, frozenset):
                continue
            tables += 1
            cut = [word for word in value if isinstance(word, str) and word.strip("-") and word.endswith("-")]
            assert not cut, f"{found.name}.{name}"
    assert tables > 100
