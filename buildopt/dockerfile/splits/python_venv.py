"""The virtual environment that a Python file makes, and what its RUNs install there and elsewhere."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits.build_steps import Steps
from buildopt.dockerfile.splits.splits import No, Subject
from buildopt.dockerfile.splits.started import literal

# Tools of packaging: outside of the environment no program reads them.
GLOBAL = frozenset(("pip", "setuptools", "wheel"))
_PYTHON = re.compile(r"python(?:3(?:\.[0-9]+)?)?")
_PIP = re.compile(r"pip(?:3(?:\.[0-9]+)?)?")
_MAKING = frozenset(("--copies", "--symlinks", "--upgrade-deps", "--clear"))
_IDLE = frozenset(("list", "freeze", "check", "cache", "--version", "show"))
_STANDING = word_set("/ /opt /usr /usr/local /app /home /root /srv /var /tmp /etc /usr/src")
_ELSEWHERE = re.compile(r"PIP_(?:TARGET|USER|PREFIX|ROOT|SRC|REQUIREMENT|CONFIG_FILE)|PYTHONUSERBASE|PYTHONHOME")


@dataclass(frozen=True, slots=True)
class Install:
    """One ``pip install``: its words, the folder that it runs in, and whether it fills the environment."""

    run: Run
    words: tuple[str, ...]
    folder: str
    inside: bool


@dataclass(frozen=True, slots=True)
class Venv:
    """The environment: its path, the offset of the RUN that makes it, and what is installed."""

    path: str
    offset: int
    installs: tuple[Install, ...]


def makes_venv(command: Command) -> bool:
    """Whether it is ``python -m venv``."""
    return _PYTHON.fullmatch(command.name or "") is not None and command.texts[:2] == ("-m", "venv")


def is_build(command: Command) -> bool:
    """Whether it makes an environment, installs packages of Python or turns to an environment."""
    return makes_venv(command) or _pip(command) is not None or _activates(command)


def environment(subject: Subject, done: Sequence[Steps]) -> Venv:
    """The only environment of a file. Raises No where it is not certain what is in it."""
    path, offset = "", -1
    installs: list[Install] = []
    for item in done:
        run = item.run
        active = False
        if item.builds and any(command.name in ("export", "env") for command in run.commands):
            raise No(run.instruction, "what it exports may lead packages elsewhere")
        for command, folder in item.builds:
            words = [literal(word, run.state.environment) for word in command.arguments]
            joined = any(other.operator in ("||", "|", "&") for other in run.commands)
            if command.depth or joined or command.environment or None in words:
                raise No(
                    run.instruction, f"what `{' '.join(word.raw for word in command.words)[:60]}` does is not known"
                )
            texts = [word or "" for word in words]
            if makes_venv(command):
                if path:
                    raise No(run.instruction, "there is more than one virtual environment")
                path, offset = _made(run, command, texts[2:], folder), run.instruction.span.start
            elif _activates(command):
                active = active or (bool(path) and texts == [f"{path}/bin/activate"])
            else:
                program = literal(command.argv[0], run.state.environment) or ""
                first = active or _first(subject, run, path)
                installs += _installed(run, program, texts, folder, path, first)
    if not path or not any(install.inside for install in installs):
        raise No(subject.origin, "no RUN is known to fill the virtual environment")
    for names in (subject.final.environment, subject.final.arguments):
        strange = next((name for name in names if _ELSEWHERE.match(name)), None)
        if strange is not None:
            raise No(subject.origin, f"{strange} may lead packages out of {path}")
    return Venv(path, offset, tuple(installs))


def _made(run: Run, command: Command, texts: Sequence[str], folder: str) -> str:
    places = [text for text in texts if not text.startswith("-")]
    strange = [text for text in texts if text.startswith("-") and text not in _MAKING]
    if strange or len(places) != 1 or "/" in (command.argv[0].text or "$/"):
        raise No(run.instruction, "how the virtual environment is made is not understood")
    path = posixpath.normpath(posixpath.join(folder, places[0]))
    if path in _STANDING or re.fullmatch(r"/[\w./-]+", path) is None or path.startswith(("/usr", "/tmp", "/root/.c")):
        raise No(run.instruction, f"{path} holds more than the virtual environment")
    return path


def _installed(run: Run, program: str, texts: Sequence[str], folder: str, path: str, first: bool) -> list[Install]:
    words = list(texts[2:] if _PYTHON.fullmatch(posixpath.basename(program)) else texts)
    if not words or words[0] in _IDLE:
        return []
    if words[0] != "install":
        raise No(run.instruction, f"pip {words[0]} is not understood")
    if "/" in program:
        inside = bool(path) and posixpath.normpath(posixpath.join(folder, program, "..")) == f"{path}/bin"
    else:
        inside = bool(path) and first
    return [Install(run, tuple(words[1:]), folder, inside)]


def _first(subject: Subject, run: Run, path: str) -> bool:
    """Whether programs of the environment are found before others: what the ENV in force says of PATH."""
    value = None
    for item in subject.body:
        if item.keyword in ("ENV", "ARG") and item.span.start < run.instruction.span.start:
            for pair in item.pairs:
                if pair.key.text == "PATH":
                    known = subject.known[item.span.start]
                    text = pair.value.text if pair.value is not None else ""
                    value = known.value(text.strip('"').partition(":")[0], subject.dockerfile.escape)
    return value == f"{path}/bin"


def _pip(command: Command) -> str | None:
    name = command.name or ""
    if _PIP.fullmatch(name):
        return name
    return name if _PYTHON.fullmatch(name) and command.texts[:2] == ("-m", "pip") else None


def _activates(command: Command) -> bool:
    return command.name in (".", "source") and any(
        word.raw.rstrip("\"'").endswith("/activate") for word in command.arguments
    )
