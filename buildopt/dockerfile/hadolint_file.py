"""hadolint's configuration file, said in ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from buildopt.dockerfile.rules import RULES
from buildopt.errors import UsageError
from buildopt.settings import LABEL_KINDS, SEVERITIES, nearest

# hadolint itself passes over keys that it does not know.
_KEYS = (
    "ignored",
    "override",
    "trustedRegistries",
    "label-schema",
    "strict-labels",
    "failure-threshold",
    "no-fail",
    "format",
    "no-color",
    "disable-ignore-pragma",
    "verbose",
)
_CODE = re.compile(r"(?:DL|SC)\d{4}", re.IGNORECASE)
_THRESHOLDS = (*SEVERITIES, "ignore", "none")
_FORMATS = {"tty": "text", "json": "json", "sarif": "sarif"}
_PLAIN = re.compile(r"[A-Za-z][\w./-]*")
# What ends a line for the YAML reader, whose marks count them.
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A text of a list and the comment that stands beside or above it."""

    text: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Translation:
    """Our ``lint:`` section; ``notes`` say what has no place in it, a line each."""

    ignore: tuple[Entry, ...] = ()
    severity: tuple[tuple[str, str], ...] = ()
    registries: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    strict_labels: bool = False
    fail_on: str | None = None
    notes: tuple[str, ...] = ()

    def yaml(self) -> str:
        """The section as it stands in buildopt.yaml."""
        lines = ["lint:", "  profile: hadolint"]
        if self.ignore:
            lines.append("  ignore:")
            lines += (f"    - {item.text}" + (f"  # {item.comment}" if item.comment else "") for item in self.ignore)
        if self.registries:
            lines += ("  registries:", *(f"    - {_scalar(name)}" for name in self.registries))
        for key, pairs in (("labels", self.labels), ("severity", self.severity)):
            if pairs:
                lines += (f"  {key}:", *(f"    {_scalar(name)}: {word}" for name, word in pairs))
        if self.strict_labels:
            lines.append("  strict-labels: true")
        if self.fail_on is not None:
            lines.append(f"  fail-on: {self.fail_on}")
        return "".join(f"{line}\n" for line in lines)

    def toml(self) -> str:
        """The section as it stands in pyproject.toml."""
        values: list[tuple[str, str]] = [("profile", '"hadolint"')]
        if self.ignore:
            values.append(("ignore", _toml([entry.text for entry in self.ignore])))
        if self.registries:
            values.append(("registries", _toml(self.registries)))
        for key, pairs in (("labels", self.labels), ("severity", self.severity)):
            if pairs:
                inside = ", ".join(f"{_toml(name)} = {_toml(word)}" for name, word in pairs)
                values.append((key, f"{{{inside}}}"))
        if self.strict_labels:
            values.append(("strict-labels", "true"))
        if self.fail_on is not None:
            values.append(("fail-on", _toml(self.fail_on)))
        return "[tool.buildopt.lint]\n" + "".join(f"{key} = {value}\n" for key, value in values)


def translate(path: str, data: bytes) -> Translation:
    """The section that has the same effect as a ``.hadolint.yaml``. Raises UsageError where that is broken."""
    read = _Reader(path, data)
    found = read.top()
    ignored = read.entries(found.get("ignored"), "ignored")
    severity, strange = _severities(read, found.get("override"))
    strange = [*(entry.text for entry in ignored if not _CODE.fullmatch(entry.text)), *strange]
    notes = [f"{word} is no rule of hadolint: left out" for word in dict.fromkeys(strange)]
    return Translation(
        ignore=tuple(_ignored(entry for entry in ignored if _CODE.fullmatch(entry.text))),
        severity=severity,
        registries=tuple(entry.text for entry in read.entries(found.get("trustedRegistries"), "trustedRegistries")),
        labels=tuple(
            (name, read.one_of(node, f"label-schema: {name}", LABEL_KINDS))
            for name, node in read.pairs(found.get("label-schema"), "label-schema")
        ),
        strict_labels=read.flag(found.get("strict-labels"), "strict-labels"),
        fail_on=_fail_on(read, found),
        notes=(*notes, *_notes(read, found)),
    )


def rule_name(code: str) -> str:
    """Our name for a code of hadolint; the code itself where both do not stand for the very same."""
    owners = [rule for rule in RULES if code.upper() in rule.ALIASES]
    if len(owners) == 1 and sum(_CODE.fullmatch(alias) is not None for alias in owners[0].ALIASES) == 1:
        return owners[0].NAME
    return code.upper()


def _ignored(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Our name for each code, which stays in the comment."""
    seen = set()
    for entry in entries:
        name, code = rule_name(entry.text), entry.text.upper()
        if name not in seen:
            seen.add(name)
            yield Entry(name, ": ".join(word for word in ("" if name == code else code, entry.comment) if word))


def _severities(read: _Reader, node: Any) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    """Severities by rule, the gravest where hadolint was told several; and the words that are no codes."""
    lists = dict(read.pairs(node, "override"))
    for word in lists:
        if word not in SEVERITIES:
            raise read.error(lists[word], f"override: unknown key {word!r}", f"keys: {', '.join(SEVERITIES)}")
    found: dict[str, str] = {}
    strange = []
    for word in SEVERITIES:
        for entry in read.entries(lists.get(word), f"override: {word}"):
            if _CODE.fullmatch(entry.text):
                found.setdefault(rule_name(entry.text), word)
            else:
                strange.append(entry.text)
    return tuple(found.items()), strange


def _fail_on(read: _Reader, found: dict[str, Any]) -> str | None:
    node = found.get("failure-threshold")
    threshold = None if node is None else read.one_of(node, "failure-threshold", _THRESHOLDS)
    if read.flag(found.get("no-fail"), "no-fail"):
        return "never"
    return "style" if threshold in ("ignore", "none") else threshold


def _notes(read: _Reader, found: dict[str, Any]) -> Iterator[str]:
    if "format" in found:
        wanted = read.text(found["format"], "format")
        known = f"give --format {_FORMATS.get(wanted, '')}"
        ours = known if wanted in _FORMATS else "there is --format text, json, sarif, github, markdown"
        yield f"format: {wanted} is no configuration here: {ours}"
    flags = {
        "no-color": "give --no-color, or set NO_COLOR=1",
        "disable-ignore-pragma": "comments that ignore a rule are always honoured",
        "verbose": "give --verbose",
    }
    yield from (f"{key}: {what}" for key, what in flags.items() if read.flag(found.get(key), key))


class _Reader:
    """A YAML document by its nodes, which know their places; every error names file and line."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        self.lines: list[str] = []

    def error(self, node: Any, problem: str, hint: str = "") -> UsageError:
        return UsageError(f"{self.path}:{node.start_mark.line + 1}: {problem}", hint=hint)

    def top(self) -> dict[str, Any]:
        """The nodes of the top's keys, all of which are hadolint's."""
        import yaml

        try:
            text = self.data.decode()
            root = yaml.compose(text, yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f":{mark.line + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or "not valid YAML"
            raise UsageError(f"{self.path}{where}: {problem}", hint="mend the YAML") from error
        self.lines = _LINE_BREAK.split(text)
        found = dict(self.pairs(root, ""))
        for key, node in found.items():
            if key not in _KEYS:
                raise self.error(node, f"unknown key {key!r}", nearest(key, list(_KEYS)))
        return found

    def pairs(self, node: Any, where: str) -> list[tuple[str, Any]]:
        """The keys and values of a mapping; none for nothing."""
        if _is_nothing(node):
            return []
        if node.id != "mapping":
            hint = "" if where else f"keys: {', '.join(_KEYS)}"
            raise self.error(node, f"{where}: must be a mapping" if where else "must be a mapping", hint)
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = self.text(key, where or "a key")
            if name in found:
                raise self.error(key, f"{name} stands there twice", "leave out one of them")
            found[name] = value
        return list(found.items())

    def entries(self, node: Any, where: str) -> list[Entry]:
        """The texts of a list; a single text counts as a list of one."""
        if _is_nothing(node):
            return []
        items = node.value if node.id == "sequence" else [node]
        above = node.id == "sequence" and not node.flow_style
        return [Entry(self.text(item, where), self.comment(item, above)) for item in items]

    def text(self, node: Any, where: str) -> str:
        if node.id != "scalar" or _is_nothing(node):
            raise self.error(node, f"{where}: must be text")
        return " ".join(str(node.value).split())

    def flag(self, node: Any, where: str) -> bool:
        if _is_nothing(node):
            return False
        if not node.tag.endswith(":bool"):
            raise self.error(node, f"{where}: must be true or false")
        return str(node.value).lower() in ("true", "yes", "on")

    def one_of(self, node: Any, where: str, allowed: Sequence[str]) -> str:
        word = self.text(node, where)
        if word not in allowed:
            raise self.error(node, f"{where}: {word!r} is unknown", f"one of {', '.join(allowed)}")
        return word

    def comment(self, node: Any, above: bool) -> str:
        """What is said about an item behind it, else (in a list of lines) in the lines right above it."""
        beside = re.match(r"[\s,\]}]*(?<=[\s,])#+\s*(.*)", self.lines[node.end_mark.line][node.end_mark.column :])
        if beside is not None:
            return beside[1].strip()
        said: list[str] = []
        line = node.start_mark.line - 1
        while above and line >= 0 and self.lines[line].lstrip().startswith("#"):
            words = self.lines[line].strip().lstrip("#").strip()
            if not words.startswith("- "):  # an item that is switched off
                said.insert(0, words)
            line -= 1
        return " ".join(word for word in said if word)


def _is_nothing(node: Any) -> bool:
    return node is None or node.tag.endswith(":null")


def _scalar(text: str) -> str:
    import yaml

    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    return str(yaml.safe_dump(text, default_style='"', width=float("inf"), allow_unicode=True)).strip()


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
