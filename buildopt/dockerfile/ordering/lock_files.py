"""Whether an install leaves the lockfile of a project as it is, told by the lockfile."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from buildopt.dockerfile.files import json_value
from buildopt.dockerfile.ordering.needs import Question

_SECTIONS = ("dependencies", "devDependencies", "optionalDependencies")
# What npm writes down about the project itself.
_ROOT_KEYS = (
    *("version", "license", "engines", "os", "cpu", "peerDependencies", "peerDependenciesMeta", "workspaces"),
    *_SECTIONS,
)
_CHANGED = "may be rewritten"

# The manifests of a project and of its workspaces by their folder, ``.`` for the project's own.
Manifests = Mapping[str, Mapping[str, object]]


def npm_keeps_lock(question: Question, members: Manifests, place: str) -> str:
    """Empty, or what ``npm install`` does to its lockfile."""
    if posixpath.basename(place) == "yarn.lock":
        return _CHANGED
    try:
        lock = json_value(question.tree.text(place) or "")
        version = int(lock.get("lockfileVersion", 1))
    except (ValueError, TypeError, AttributeError, OverflowError):
        return _CHANGED
    writes = _lock_versions(question)
    if version not in writes:
        return f"is of lockfileVersion {version}, and may be rewritten"
    package = members["."]
    if lock.get("name") != package.get("name", posixpath.basename(question.folder)):
        return "is for a project of another name, and will be rewritten"
    if version == 1:
        known = lock.get("dependencies") or {}
        wanted = {dependency for section in _SECTIONS for dependency in _mapping(package, section)}
        same = lock.get("version") == package.get("version") and isinstance(known, dict) and wanted <= known.keys()
        return "" if same and len(members) == 1 else "does not fit package.json, and may be rewritten"
    listed = lock.get("packages")
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) for entry in listed.values()):
        return _CHANGED
    if not _has_its_peers(question, listed):
        return "was made with other rules for peer dependencies, and will be rewritten"
    for folder, manifest in members.items():
        entry = listed.get("" if folder == "." else folder)
        if not isinstance(entry, dict):
            return f"does not know {folder}, and will be rewritten"
        changed = [key for key in _ROOT_KEYS if (manifest.get(key) or None) != (entry.get(key) or None)]
        if changed:
            return f"does not fit package.json ({changed[0]}), and will be rewritten"
    return ""


def _has_its_peers(question: Question, packages: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether a lockfile holds peer dependencies as this install wants them: all of them, or none."""
    settings = question.tree.text(question.path(".npmrc")) or ""
    if question.has("--legacy-peer-deps") or re.search(r"^\s*legacy-peer-deps\s*=\s*true", settings, re.MULTILINE):
        return not any(entry.get("peer") for entry in packages.values())
    for path, entry in packages.items():
        optional = _mapping(entry, "peerDependenciesMeta")
        for name in _mapping(entry, "peerDependencies"):
            if name in optional or entry.get("optional"):
                continue
            folders = [path[: found.start()] for found in re.finditer(r"(?:^|/)node_modules/|$", path)]
            places = [f"{folder}/node_modules/{name}".lstrip("/") for folder in [*folders, path]]
            if not any(place in packages for place in places):
                return False
    return True


# Distributions whose own package of npm leaves the second and third version of the lockfile as they are.
_DISTRIBUTIONS = re.compile(
    r"(?:.*/)?(?:alpine(?::(?:latest|edge|3|3\.(?:1[5-9]|2[0-9])(?:\.[0-9]+)?))?|"
    r"debian(?::(?:latest|stable|1[23]|bookworm|trixie)[\w.-]*)?|"
    r"ubuntu(?::(?:latest|rolling|2[2-9]\.[0-9]+|jammy|noble)[\w.-]*)?)"
)
_OLD = ("argon", "boron", "carbon", "dubnium", "erbium", "fermium")
_NEW = (
    *("latest", "current", "lts", "alpine", "slim", "gallium", "hydrogen", "iron", "jod", "krypton", "bookworm"),
    *("trixie", "bullseye"),
)


def _lock_versions(question: Question) -> tuple[int, ...]:
    """The versions of the lockfile that the npm of a stage does not turn into another one, none where it is unknown."""
    if re.search(r"\bnvm\b|\bn\s+(?:[0-9]|lts|latest)|\bfnm\b|\bvolta\b", question.text):
        return ()
    upgraded = re.findall(
        r"\bnpm@(\S+)|\bnpm[ \t](?:[^&;|\n]*[ \t])?(?:install|i|add|update|upgrade)[ \t]"
        r"(?:[^&;|\n]*[ \t])?npm(?![\w@/.-])()",
        question.text,
    )
    for wanted, _ in upgraded:
        number = re.match(r"[~^]?([0-9]+)", wanted or "latest")
        if number is None and wanted not in ("", "latest"):
            return ()
        major = int(number[1]) if number is not None else 99
        return (1,) if major < 7 else (2,) if major == 7 else (2, 3)
    added = re.findall(r"(?:setup_|node_)([0-9]+)\.x", question.text)
    found = re.fullmatch(r"(?:[\w.:-]+/)*(?:alpine-)?node(?:js)?(?::([\w.-]+))?(?:@.*)?", question.base)
    if added or found is None:
        if not added:
            return (2, 3) if _DISTRIBUTIONS.fullmatch(question.base) else ()
        tag = added[-1]
    else:
        tag = found[1] or "latest"
    number = re.match(r"v?([0-9]+)(?:\.([0-9]+))?(?![0-9])", tag)
    if number is not None:
        major, minor = int(number[1]), int(number[2] or 99)
        # npm 7 makes a second version of the third: https://docs.npmjs.com/cli/v7/configuring-npm/package-lock-json
        return (1,) if major < 15 else (2,) if major == 15 or (major == 16 and minor < 11) else (2, 3)
    first = re.sub(r"[0-9.]+$", "", tag.split("-")[0])
    return (1,) if first in _OLD else (2, 3) if first in _NEW else ()


def _mapping(package: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = package.get(key)
    return found if isinstance(found, dict) else {}


def _wanted(package: Mapping[str, object]) -> dict[str, str]:
    """All dependencies of a manifest; of a name that is listed twice, what counts."""
    return {name: str(wanted) for section in reversed(_SECTIONS) for name, wanted in _mapping(package, section).items()}


def yarn_keeps_lock(question: Question, members: Manifests, place: str) -> str:
    """Empty, or what ``yarn install`` does to its lockfile."""
    package = members["."]
    text = (question.tree.text(place) or "").replace("\r\n", "\n")
    if "__metadata:" in text:
        return _modern_yarn(question, members, text)
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
    own = {str(manifest.get("name")) for manifest in members.values()}
    asked = [pair for manifest in members.values() for pair in _wanted(manifest).items()]
    open_keys = {f"{name}@{version}" for name, version in asked if name not in own}
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


def _modern_yarn(question: Question, members: Manifests, text: str) -> str:
    """A yarn after version 1: which one is told by the project."""
    package = members["."]
    if len(members) > 1:
        return _CHANGED
    if "packageManager" not in package and "yarnPath" not in (question.tree.text(question.path(".yarnrc.yml")) or ""):
        return _CHANGED
    entry = re.search(r"^\"[^\"\n]*@workspace:\.\":\n((?:  .*\n|\n(?=  ))*)", text, re.MULTILINE)
    if entry is None:
        return _CHANGED
    block = re.search(r"^  dependencies:\n((?:    .*\n)*)", entry[1], re.MULTILINE)
    pairs = re.findall(r"^    \"?([^\s\":]+)\"?: \"?(?:npm:)?([^\"\n]+)\"?$", block[1] if block else "", re.MULTILINE)
    wanted = {name: version.removeprefix("npm:") for name, version in _wanted(package).items()}
    return "" if dict(pairs) == wanted else "does not fit package.json, and will be rewritten"


def pnpm_keeps_lock(question: Question, members: Manifests, place: str) -> str:
    """Empty, or what ``pnpm install`` does to its lockfile."""
    import yaml

    # What it says of packages follows what it says of the project, is long, and is not asked for.
    text = re.split(r"^(?:packages|snapshots):", question.tree.text(place) or "", maxsplit=1, flags=re.MULTILINE)[0]
    try:
        lock = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return _CHANGED
    if not isinstance(lock, dict):
        return _CHANGED
    version = _scalar(lock.get("lockfileVersion"))
    manager = re.match(r"pnpm@([0-9]+)", str(members["."].get("packageManager", "")))
    fitting = {"9": ("9.0",), "10": ("9.0",), "8": ("6.0", "6.1"), "7": ("5.4",), "6": ("5.3", "5.4")}
    if version != "9.0" and (manager is None or version not in fitting.get(manager[1], ())):
        return f"is of version {version}, and may be rewritten"
    if lock.get("overrides") or lock.get("patchedDependencies"):
        return _CHANGED
    importers = lock.get("importers")
    for folder, manifest in members.items():
        entry = importers.get(folder) if isinstance(importers, dict) else lock if folder == "." else None
        if not isinstance(entry, dict) or _specifiers(entry) != _wanted(manifest):
            return "does not fit package.json, and will be rewritten"
    return ""


def _specifiers(importer: Mapping[str, object]) -> dict[str, str]:
    """What a lockfile of pnpm says that a manifest asks for."""
    found = {name: _scalar(wanted) for name, wanted in _mapping(importer, "specifiers").items()}
    for section in _SECTIONS:
        for name, entry in _mapping(importer, section).items():
            if isinstance(entry, dict):
                found[name] = _scalar(entry.get("specifier"))
    return found


def _scalar(value: object) -> str:
    """A text or a number; what YAML refers to over and over may be too much to be written out."""
    return str(value) if isinstance(value, (str, int, float)) else ""


def bun_keeps_lock(question: Question, members: Manifests, place: str) -> str:
    """Empty, or what ``bun install`` does to its lockfile."""
    text = question.tree.text(place) if place.endswith(".lock") else None
    try:
        lock = json_value(re.sub(r",(\s*[}\]])", r"\1", text or ""))
    except ValueError:
        return _CHANGED
    listed = lock.get("workspaces") if isinstance(lock, dict) else None
    for folder, manifest in members.items():
        entry = listed.get("" if folder == "." else folder) if isinstance(listed, dict) else None
        if not isinstance(entry, dict) or _wanted(entry) != _wanted(manifest):
            return "does not fit package.json, and will be rewritten"
    return ""
