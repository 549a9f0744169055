"""buildopt.yaml (or ``[tool.buildopt]`` in pyproject.toml): validated once, frozen.

Every key is checked; an unknown one is an error that names the nearest known key.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildopt.errors import UsageError

FILE_NAME = "buildopt.yaml"
WRONG_NAME = "buildopt.yml"
FAIL_ON = ("error", "warning", "info", "style", "never")
SEVERITIES = FAIL_ON[:-1]
PROFILES = ("recommended", "strict", "hadolint")
# What the value of a label can be asked to be.
LABEL_KINDS = ("text", "url", "email", "semver", "hash", "rfc3339", "spdx")


@dataclass(frozen=True, slots=True)
class LintSettings:
    """``lint:``. ``ignore`` and ``select`` hold names, aliases or categories; ``exclude`` globs.

    ``fail_on`` is the least severity that fails, or ``never``; None leaves it to the profile. ``registries`` are those
    that base images may come from (any, where empty). ``labels`` are the labels that an image must have, each with one
    of LABEL_KINDS; ``strict_labels`` allows no others. ``severity`` maps names or aliases to other severities.
    """

    profile: str = "recommended"
    ignore: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    fail_on: str | None = None
    registries: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    strict_labels: bool = False
    severity: tuple[tuple[str, str], ...] = ()

    @property
    def like_hadolint(self) -> bool:
        """Whether rules decide as hadolint does, where they would know better."""
        return self.profile == "hadolint"

    @property
    def fails_from(self) -> str:
        """``fail_on``, or the profile's own: hadolint fails from ``info`` on."""
        return self.fail_on or ("info" if self.like_hadolint else "warning")


@dataclass(frozen=True, slots=True)
class Creation:
    """How a repository that does not exist is made: with ``immutable`` tags, and images scanned when they arrive."""

    immutable: bool = False
    scan: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an image goes: a reference without a tag usually; a failure of an ``optional`` one is not fatal.

    Its repository is made first where ``create`` says how.
    """

    ref: str
    optional: bool = False
    create: Creation | None = None


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """One image to build and push. ``build:`` and ``push: to:`` are the short form for the only one, named ``""``."""

    name: str = ""
    context: str = "."
    dockerfile: str | None = None
    platforms: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    platforms_when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    to: tuple[Destination, ...] = ()


@dataclass(frozen=True, slots=True)
class Gates:
    """``gates:``: what an artifact must pass before it counts as built.

    ``test`` are commands run inside the image, ``scan`` outside commands run on it. ``max_size`` is in compressed bytes
    a platform. ``allowed_secrets`` are globs of paths that ``no_secrets`` passes over. ``test_platforms`` is empty for
    the engine's own one, else ``all`` or names; timeouts are in seconds.
    """

    test: tuple[str, ...] = ()
    scan: tuple[str, ...] = ()
    max_size: int | None = None
    non_root: bool = False
    no_secrets: bool = False
    allowed_secrets: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    attestations: tuple[str, ...] = ()
    test_platforms: tuple[str, ...] = ()
    test_network: bool = False
    test_timeout: float = 120.0
    scan_timeout: float = 1800.0


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration. ``path`` is the file that it came from, None for the defaults."""

    path: Path | None = None
    lint: LintSettings = field(default_factory=LintSettings)
    images: tuple[ImageSettings, ...] = (ImageSettings(),)
    gates: Gates = field(default_factory=Gates)
    tags: tuple[str, ...] = ()
    semver: bool = False
    """``push: semver:``: a version among the tags gets its shorter names too."""
    thresholds: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> Path:
        """What relative paths in the file are relative to."""
        return self.path.parent if self.path is not None else Path()


def cache_folder() -> Path:
    """Where what can be made again is kept: ``$BUILDOPT_CACHE``, else ``buildopt`` in the user's cache folder."""
    explicit = os.environ.get("BUILDOPT_CACHE")
    if explicit:
        return Path(explicit).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and os.path.isabs(base) else Path.home() / ".cache") / "buildopt"


def find(folder: Path) -> Path | None:
    """The nearest configuration file from ``folder`` upwards to its repository's root (or the file system's).

    Raises UsageError where a pyproject.toml on the way cannot be read.
    """
    for parent in _upwards(folder):
        # Not the methods of Path: those raise where a folder may not be looked into.
        candidate = parent / FILE_NAME
        if os.path.isfile(candidate):
            return candidate
        project = parent / "pyproject.toml"
        if os.path.isfile(project) and b"[tool.buildopt" in _read(project):
            return project
    return None


def misnamed(folder: Path) -> Path | None:
    """A ``buildopt.yml`` beside no ``buildopt.yaml`` where ``find`` looks: nobody reads it."""
    for parent in _upwards(folder):
        if os.path.isfile(parent / FILE_NAME):
            return None
        if os.path.isfile(parent / WRONG_NAME):
            return parent / WRONG_NAME
    return None


def _upwards(folder: Path) -> Iterator[Path]:
    """The folder and those above it, up to its repository's root."""
    folder = Path(os.path.abspath(folder))
    for parent in (folder, *folder.parents):
        yield parent
        if os.path.exists(parent / ".git"):
            return


def load(path: Path | None) -> Settings:
    """Read and check a configuration file; the defaults for None. Raises UsageError."""
    if path is None:
        return Settings()
    data = _read(path)
    document = _parse_toml(path, data) if path.suffix == ".toml" else _parse_yaml(path, data)
    return _Checker(path).settings(document)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "check its permissions" if isinstance(error, PermissionError) else "check the path given with --config"
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=hint) from error


def load_nearest(folder: Path, explicit: Path | None = None) -> Settings:
    """The configuration named by ``--config``, else the nearest one of ``folder``."""
    return load(explicit if explicit is not None else find(folder))


def _parse_yaml(path: Path, data: bytes) -> object:
    import yaml

    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        unreadable = isinstance(error, UnicodeDecodeError | yaml.reader.ReaderError)
        problem = getattr(error, "problem", None) or ("not UTF-8 text" if unreadable else "not valid YAML")
        raise UsageError(f"{path}{where}: {problem}", hint="mend the YAML") from error


def _parse_toml(path: Path, data: bytes) -> object:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document = tomllib.loads(data.decode())
    except ValueError as error:
        raise UsageError(f"{path}: {error}", hint="mend the TOML") from error
    tool = document.get("tool", {})
    return tool.get("buildopt", {}) if isinstance(tool, dict) else {}


def nearest(word: str, known: list[str]) -> str:
    """A hint that names the known word nearest to ``word``."""
    import difflib

    close = difflib.get_close_matches(word, known, 1, 0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"


_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1000, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12,
          "tb": 10**12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}  # fmt: skip
_TIMES = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def size(text: str) -> float:
    """Bytes of a size such as ``200MB`` (powers of a thousand) or ``1.5GiB``. Raises ValueError."""
    return _amount(text, _UNITS, "a size such as 200MB or 1.5GiB")


def seconds(text: str) -> float:
    """Seconds of a time such as ``90``, ``90s``, ``2m``, ``1h``. Raises ValueError."""
    return _amount(text, _TIMES, "a time such as 90s or 2m")


def _amount(text: str, units: Mapping[str, int], what: str) -> float:
    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].lower() not in units or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not {what}")
    return float(match[1]) * units[match[2].lower()]


class _Checker:
    """Turns a parsed document into Settings; every message names the file and the key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def error(self, where: str, problem: str, hint: str = "") -> UsageError:
        return UsageError(f"{self.path}: {where}: {problem}" if where else f"{self.path}: {problem}", hint=hint)

    def table(self, value: object, where: str, known: str) -> Mapping[str, Any]:
        """``value`` as a mapping whose keys are all among the words of ``known``."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.error(where, f"must be a mapping, not {_kind(value)}", f"keys: {known.replace(' ', ', ')}")
        for key in value:
            if key not in known.split():
                place = f"{where}: " if where else ""
                raise UsageError(f"{self.path}: {place}unknown key {key!r}", hint=nearest(str(key), known.split()))
        return value

    def text(self, value: object, where: str) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.error(where, f"must be text, not {_kind(value)}")
        return str(value)

    def flag(self, value: object, where: str) -> bool:
        if not isinstance(value, bool):
            raise self.error(where, f"must be true or false, not {_kind(value)}")
        return value

    def words(self, value: object, where: str) -> tuple[str, ...]:
        """A list of texts; a single text counts as a list of one."""
        return self.list(value, where, self.text)

    def some(self, value: object, where: str) -> tuple[str, ...]:
        """``words``, of which there must be one."""
        found = self.words(value, where)
        if not found:
            raise self.error(where, "is empty", "leave the key out, or write all for every platform")
        return found

    def list(self, value: object, where: str, item: Callable[[object, str], Any]) -> tuple[Any, ...]:
        if value is None:
            return ()
        values = value if isinstance(value, list) else [value]
        return tuple(item(entry, f"{where}[{index}]") for index, entry in enumerate(values))

    def settings(self, document: object) -> Settings:
        top = self.table(document, "", "lint build images gates push thresholds")
        if "images" in top and "build" in top:
            raise self.error("build", "cannot stand beside images", "move it into an entry of images")
        push = self.table(top.get("push"), "push", "tags to semver")
        if "images" in top:
            if "to" in push:
                raise self.error("push.to", "cannot stand beside images", "give each image its own to")
            images = self.images(top["images"])
        else:
            images = (self.image("", top.get("build"), "build", push.get("to"), "push.to"),)
        thresholds = self.table(top.get("thresholds"), "thresholds", "workflow build cache-hits failures")
        return Settings(
            path=self.path,
            lint=self.lint(top.get("lint")),
            images=images,
            gates=self.gates(top.get("gates")),
            tags=self.words(push.get("tags"), "push.tags"),
            semver=self.flag(push.get("semver", False), "push.semver"),
            thresholds=tuple((key, self.text(value, f"thresholds.{key}")) for key, value in thresholds.items()),
        )

    def gates(self, value: object) -> Gates:
        known = "test scan max-size non-root no-secrets labels attestations test-platforms test-network test-timeout"
        table = self.table(value, "gates", f"{known} scan-timeout")
        secrets = table.get("no-secrets", False)
        allowed: tuple[str, ...] = ()
        if isinstance(secrets, dict):
            allowed = self.words(
                self.table(secrets, "gates.no-secrets", "allow").get("allow"), "gates.no-secrets.allow"
            )
            secrets = True
        largest = table.get("max-size")
        times = {
            key: self.measured(table.get(key, default), f"gates.{key}", seconds)
            for key, default in (("test-timeout", Gates().test_timeout), ("scan-timeout", Gates().scan_timeout))
        }
        return Gates(
            test=self.commands(table.get("test"), "gates.test"),
            scan=self.commands(table.get("scan"), "gates.scan"),
            max_size=None if largest is None else int(self.measured(largest, "gates.max-size", size)),
            non_root=self.flag(table.get("non-root", False), "gates.non-root"),
            no_secrets=self.flag(secrets, "gates.no-secrets"),
            allowed_secrets=allowed,
            labels=self.words(table.get("labels"), "gates.labels"),
            attestations=self.words(table.get("attestations"), "gates.attestations"),
            test_platforms=self.words(table.get("test-platforms"), "gates.test-platforms"),
            test_network=self.flag(table.get("test-network", False), "gates.test-network"),
            test_timeout=times["test-timeout"],
            scan_timeout=times["scan-timeout"],
        )

    def commands(self, value: object, where: str) -> tuple[str, ...]:
        found = self.words(value, where)
        if not all(command.strip() for command in found):
            raise self.error(where, "has an empty command")
        return found

    def measured(self, value: object, where: str, unit: Callable[[str], float]) -> float:
        try:
            return unit(self.text(value, where))
        except ValueError as error:
            raise self.error(where, str(error)) from error

    def lint(self, value: object) -> LintSettings:
        known = "profile ignore select exclude fail-on registries labels strict-labels severity"
        table = self.table(value, "lint", known)
        fail_on = table.get("fail-on")
        return LintSettings(
            profile=self.one_of(table.get("profile", "recommended"), "lint.profile", "a profile", PROFILES),
            ignore=self.words(table.get("ignore"), "lint.ignore"),
            select=self.words(table.get("select"), "lint.select"),
            exclude=self.words(table.get("exclude"), "lint.exclude"),
            fail_on=None if fail_on is None else self.one_of(fail_on, "lint.fail-on", "a severity", FAIL_ON),
            registries=self.words(table.get("registries"), "lint.registries"),
            labels=self.choices(table.get("labels"), "lint.labels", "a kind of value", LABEL_KINDS),
            strict_labels=self.flag(table.get("strict-labels", False), "lint.strict-labels"),
            severity=self.choices(table.get("severity"), "lint.severity", "a severity", SEVERITIES),
        )

    def one_of(self, value: object, where: str, what: str, allowed: tuple[str, ...]) -> str:
        text = self.text(value, where)
        if text not in allowed:
            raise self.error(where, f"{text!r} is not {what}", f"one of {', '.join(allowed)}")
        return text

    def choices(self, value: object, where: str, what: str, allowed: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """A mapping of free names to allowed words."""
        if value is None:
            return ()
        if not isinstance(value, dict):
            raise self.error(where, f"must be a mapping, not {_kind(value)}", f"NAME: {' | '.join(allowed)}")
        return tuple((str(name), self.one_of(word, f"{where}.{name}", what, allowed)) for name, word in value.items())

    def images(self, value: object) -> tuple[ImageSettings, ...]:
        if not isinstance(value, dict) or not value:
            raise self.error("images", "must map each image's name to its settings")
        found = []
        for name, entry in value.items():
            where = f"images.{name}"
            table = self.table(entry, where, "context dockerfile platforms cache platforms-when to")
            build = {key: part for key, part in table.items() if key != "to"}
            found.append(self.image(str(name), build, where, table.get("to"), f"{where}.to"))
        return tuple(found)

    def image(self, name: str, value: object, where: str, to: object, to_where: str) -> ImageSettings:
        table = self.table(value, where, "context dockerfile platforms cache platforms-when")
        when = self.table(
            table.get("platforms-when"),
            f"{where}.platforms-when",
            "pull_request push tag schedule release workflow_dispatch merge_group",
        )
        dockerfile = table.get("dockerfile")
        return ImageSettings(
            name=name,
            context=self.text(table.get("context", "."), f"{where}.context"),
            dockerfile=None if dockerfile is None else self.text(dockerfile, f"{where}.dockerfile"),
            platforms=self.words(table.get("platforms"), f"{where}.platforms"),
            cache=self.words(table.get("cache"), f"{where}.cache"),
            platforms_when=tuple(
                (event, self.some(names, f"{where}.platforms-when.{event}")) for event, names in when.items()
            ),
            to=self.list(to, to_where, self.destination),
        )

    def destination(self, value: object, where: str) -> Destination:
        if isinstance(value, str):
            return Destination(value)
        table = self.table(value, where, "ref optional create")
        if "ref" not in table:
            raise self.error(where, "has no ref", "write ref: REGISTRY/REPOSITORY")
        return Destination(
            self.text(table["ref"], f"{where}.ref"),
            optional=self.flag(table.get("optional", False), f"{where}.optional"),
            create=self.creation(table.get("create", False), f"{where}.create"),
        )

    def creation(self, value: object, where: str) -> Creation | None:
        if not isinstance(value, dict):
            return Creation() if self.flag(value, where) else None
        table = self.table(value, where, "tags scan")
        tags = self.one_of(table.get("tags", "mutable"), f"{where}.tags", "a way of tags", ("mutable", "immutable"))
        return Creation(tags == "immutable", self.flag(table.get("scan", False), f"{where}.scan"))


def _kind(value: object) -> str:
    names = {
        dict: "a mapping",
        list: "a list",
        bool: "true or false",
        int: "a number",
        str: "text",
        type(None): "nothing",
    }
    return names.get(type(value), type(value).__name__)
