"""Whether an install leaves the lockfile of a project as it is, told by the lockfile."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping

from buildopt.dockerfile.passes.needs import Question

_SECTIONS = ("dependencies", "devDependencies", "optionalDependencies")
# What npm writes down about the project itself.
_ROOT_KEYS = (
    *("version", "license", "engines", "os", "cpu", "peerDependencies", "peerDependenciesMeta", "workspaces"),
    *_SECTIONS,
)
_CHANGED = "may be rewritten"


def npm_keeps_lock(question: Question, package: Mapping[str, object], place: str) -> str:
    """Empty, or what ``npm install`` does to its lockfile."""
    if posixpath.basename(place) == "yarn.lock":
        return _CHANGED
    try:
        lock = json.loads(question.tree.text(place) or "")
        version = int(lock.get("lockfileVersion", 1))
    except (ValueError, TypeError, AttributeError):
        return _CHANGED
    major = _node_major(question.base)
    if major is None or re.search(r"\bnpm@|\bnvm\b|\bn\s+[0-9]", question.text) or (version == 1) != (major < 15):
        return f"is of lockfileVersion {version}, and may be rewritten"
    name = package.get("name", posixpath.basename(question.folder))
    if lock.get("name") != name:
        return "is for a project of another name, and will be rewritten"
    if version == 1:
        known = lock.get("dependencies") or {}
        wanted = {dependency for section in _SECTIONS for dependency in _mapping(package, section)}
        same = lock.get("version") == package.get("version") and isinstance(known, dict) and wanted <= known.keys()
        return "" if same else "does not fit package.json, and will be rewritten"
    root = (lock.get("packages") or {}).get("")
    if not isinstance(root, dict):
        return _CHANGED
    changed = [key for key in _ROOT_KEYS if (package.get(key) or None) != (root.get(key) or None)]
    return f"does not fit package.json ({changed[0]}), and will be rewritten" if changed else ""


def _node_major(base: str) -> int | None:
    """The major version of an official image of Node; 99 where its tag asks for the newest."""
    found = re.fullmatch(r"(?:[\w./-]+/)?node(?::([\w.-]+))?(?:@.*)?", base)
    if found is None:
        return None
    tag = found[1] or "latest"
    number = re.match(r"v?([0-9]+)(?![0-9])", tag)
    if number is not None:
        return int(number[1])
    names = {"argon": 4, "boron": 6, "carbon": 8, "dubnium": 10, "erbium": 12, "fermium": 14, "gallium": 16}
    first = tag.split("-")[0]
    if first in names:
        return names[first]
    newest = ("latest", "current", "lts", "alpine", "slim", "hydrogen", "iron", "jod", "krypton", "bookworm", "trixie")
    return 99 if re.sub(r"[0-9.]+$", "", first) in newest else None


def _mapping(package: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = package.get(key)
    return found if isinstance(found, dict) else {}


def _wanted(package: Mapping[str, object]) -> dict[str, str]:
    return {name: str(wanted) for section in reversed(_SECTIONS) for name, wanted in _mapping(package, section).items()}


_YARN_ENTRY = re.compile(r"^(?:\"[^\"\n]+\"|[^\s#\"][^\n]*?):$", re.MULTILINE)


def yarn_keeps_lock(question: Question, package: Mapping[str, object], place: str) -> str:
    """Empty, or what ``yarn install`` does to its lockfile."""
    text = (question.tree.text(place) or "").replace("\r\n", "\n")
    if "__metadata:" in text:
        return _modern_yarn(question, package, text)
    if "packageManager" in package and not str(package["packageManager"]).startswith("yarn@1"):
        return _CHANGED
    wanted: dict[str, frozenset[str]] = {}
    for entry in re.split(r"\n(?=[^\s#])", f"\n{text}"):
        head, _, body = entry.lstrip("\n").partition("\n")
        if not head.endswith(":") or head.startswith("#"):
            continue
        blocks = re.findall(r"^  (?:optionalD|d)ependencies:\n((?:    .*\n?)*)", body, re.MULTILINE)
        pairs = re.findall(r"^    \"?([^\s\"]+)\"? \"?([^\"\n]+)\"?$", "\n".join(blocks), re.MULTILINE)
        listed = re.search(r"^  resolved \"?https://registry\.(?:yarnpkg|npmjs)", body, re.MULTILINE)
        if listed is not None and "\n  integrity " not in f"\n{body}":
            return "holds no checksums, and will be rewritten"
        below = frozenset(f"{name}@{version}" for name, version in pairs)
        for key in head[:-1].split(", "):
            wanted[key.strip('"')] = below
    open_keys = {f"{name}@{version}" for name, version in _wanted(package).items()}
    reached: set[str] = set()
    while open_keys:
        key = open_keys.pop()
        if key not in wanted and "resolutions" not in package:
            return "does not fit package.json, and will be rewritten"
        reached.add(key)
        open_keys |= wanted.get(key, frozenset()) - reached
    if "resolutions" in package or wanted.keys() - reached:
        return "holds more than package.json asks for, and may be rewritten"
    return ""


def _modern_yarn(question: Question, package: Mapping[str, object], text: str) -> str:
    """A yarn after version 1: which one is told by the project."""
    if "packageManager" not in package and "yarnPath" not in (question.tree.text(question.path(".yarnrc.yml")) or ""):
        return _CHANGED
    entry = re.search(r"^\"[^\"\n]*@workspace:\.\":\n((?:  .*\n|\n(?=  ))*)", text, re.MULTILINE)
    if entry is None:
        return _CHANGED
    block = re.search(r"^  dependencies:\n((?:    .*\n)*)", entry[1], re.MULTILINE)
    pairs = re.findall(r"^    \"?([^\s\":]+)\"?: \"?(?:npm:)?([^\"\n]+)\"?$", block[1] if block else "", re.MULTILINE)
    wanted = {name: version.removeprefix("npm:") for name, version in _wanted(package).items()}
    return "" if dict(pairs) == wanted else "does not fit package.json, and will be rewritten"


def pnpm_keeps_lock(question: Question, package: Mapping[str, object], place: str) -> str:
    """Empty, or what ``pnpm install`` does to its lockfile."""
    import yaml

    try:
        lock = yaml.safe_load(question.tree.text(place) or "")
    except (yaml.YAMLError, ValueError, RecursionError):
        return _CHANGED
    if not isinstance(lock, dict):
        return _CHANGED
    version = str(lock.get("lockfileVersion", ""))
    manager = re.match(r"pnpm@([0-9]+)", str(package.get("packageManager", "")))
    fitting = {"9": ("9.0",), "10": ("9.0",), "8": ("6.0", "6.1"), "7": ("5.4",), "6": ("5.3", "5.4")}
    if version != "9.0" and (manager is None or version not in fitting.get(manager[1], ())):
        return f"is of version {version}, and may be rewritten"
    importers = lock.get("importers")
    root = importers.get(".") if isinstance(importers, dict) else lock
    if not isinstance(root, dict):
        return _CHANGED
    found: dict[str, str] = dict(_mapping(root, "specifiers").items())  # type: ignore[arg-type]
    for section in _SECTIONS:
        for name, entry in _mapping(root, section).items():
            if isinstance(entry, dict):
                found[name] = str(entry.get("specifier"))
    if lock.get("overrides") or lock.get("patchedDependencies"):
        return _CHANGED
    return "" if found == _wanted(package) else "does not fit package.json, and will be rewritten"
