"""Compares the files of two images."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from buildopt.prove.contents import kind_of, texts, timeless
from buildopt.prove.exclusions import (
    COMPILED,
    LOCK_FILES,
    PACKAGE_DATABASE,
    Ledger,
    ancestors,
    empty_folders,
    rule_for,
    started_programs,
)
from buildopt.prove.flatten import Entry, Tree
from buildopt.prove.image import Image
from buildopt.prove.proof import FileDifference, LeftBehind

LOST, NEW = "lost", "new"
_ACCOUNTS = ("etc/passwd", "etc/group", "etc/shadow", "etc/gshadow")
_TOP = 12  # folders that a summary of what was left behind names
Differences = dict[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a rewrite means to change. ``cache_targets`` are the targets of its cache mounts.

    ``left_out`` are files of the context (path and SHA-256) that it no longer sends to the build, ``written`` those
    beside the Dockerfile that it writes itself.
    """

    cache_targets: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)


def aspects(old: Entry | None, new: Entry | None) -> frozenset[str]:
    """In what two entries differ, times left out."""
    if old is None or new is None:
        return frozenset() if old is new else frozenset((LOST if new is None else NEW,))
    if old.kind != new.kind:
        return frozenset(("type",))
    pairs = {
        "mode": (old.mode, new.mode),
        "owner": ((old.uid, old.gid), (new.uid, new.gid)),
        "content": ((old.size, old.digest), (new.size, new.digest)),
        "target": (old.target, new.target),
        "device": (old.device, new.device),
        "extended attributes": (old.xattrs, new.xattrs),
    }
    return frozenset(name for name, (was, now) in pairs.items() if was != now)


def differing(before: Tree, after: Tree) -> Differences:
    """Every path whose entries differ."""
    found = ((path, aspects(before.get(path), after.get(path))) for path in {*before, *after})
    return {path: what for path, what in found if what}


def compare_whole(before: Image, after: Image, ledger: Ledger) -> Differences:
    """Everything must be equal."""
    return _judged(before, after, differing(before.tree, after.tree), ledger)


def kept_paths(after: Image) -> frozenset[str]:
    """What the new image has beyond its base image."""
    return frozenset(path for path, entry in after.tree.items() if after.base.get(path) != entry)


def compare_kept(
    before: Image, after: Image, kept: frozenset[str], ledger: Ledger, *, leaves_behind: bool = True
) -> Differences:
    """What the new image has beyond its base image must be as it was; other files may stay in a build stage.

    Not so files of the base image that the old image had changed, or the new one removed: that would be an effect lost.
    ``leaves_behind`` is False where there is no build stage that they could stay in.
    """
    found: Differences = {}
    for path in kept:
        found[path] = aspects(before.tree.get(path), after.tree[path])
    if not leaves_behind:
        own = (path for path, entry in before.tree.items() if before.base.get(path) != entry)
        found.update((path, frozenset((LOST,))) for path in own if path not in after.tree)
    for path, entry in after.base.items():
        now = after.tree.get(path)
        if now is None and path in before.tree:
            found[path] = frozenset((LOST,))
        elif now is not None and path not in kept and path in before.tree:
            was = before.tree[path]
            changed = path in before.base and aspects(before.base[path], was)
            found[path] = aspects(was, now) if changed else frozenset()
            if not changed and aspects(was, entry):
                ledger.add("files of the base image", "the base image is another one", path)
    found = {path: what for path, what in found.items() if what}
    for path in [path for path in found if PACKAGE_DATABASE.fullmatch(path) and LOST not in found[path]]:
        ledger.add("package database", "build tools are not installed in the last stage", path)
        del found[path]
    found = _same_accounts(before, after, found, ledger)
    return _judged(before, after, found, ledger)


def _same_accounts(before: Image, after: Image, found: Differences, ledger: Ledger) -> Differences:
    """Without the files of accounts to which both images added the same lines, each to those of its base image."""
    names = [name for path in found for name in _ACCOUNTS if path in (name, f"{name}-") and path in before.tree]
    if not names or before.base == after.base:
        return found
    paths = [path for path in found if path.rstrip("-") in names]
    sides = []
    for image in (before, after):
        own, base = texts(image, image.tree, paths), texts(image, image.base, paths)
        sides.append({path: _lines(own.get(path)) - _lines(base.get(path)) for path in paths})
    kept = dict(found)
    for path in paths:
        if sides[0][path] == sides[1][path] and found[path] == {"content"}:
            ledger.add("accounts of the base image", "both images add the same accounts to those of their base", path)
            del kept[path]
    return kept


def _lines(text: bytes | None) -> frozenset[bytes]:
    return frozenset((text or b"").splitlines())


def _judged(before: Image, after: Image, found: Differences, ledger: Ledger) -> Differences:
    """Without what falls under a rule, each written down."""
    started = started_programs(before.settings) | started_programs(after.settings)
    left = {}
    for path in sorted(found):
        rule = rule_for(path, started, after.tree.get(path) if NEW in found[path] else None)
        if rule is not None:
            ledger.add(rule.name, rule.why, path)
        elif LOCK_FILES.fullmatch(path) and found[path] == {"content"}:
            ledger.add("lock files of Node.js", "an install may write them anew; what it installed is compared", path)
        elif COMPILED.fullmatch(path) and found[path] & {LOST, NEW}:
            ledger.add("compiled Python", "made from the source file beside it whenever it is missing", path)
        else:
            left[path] = found[path]
    for path in [path for path in left if posixpath.basename(path) == "__pycache__" and left[path] <= {LOST, NEW}]:
        ledger.add("compiled Python", "made from the source file beside it whenever it is missing", path)
        del left[path]
    return _without_times(before, after, left, ledger)


def without_intended(
    before: Image, after: Image, found: Differences, expected: Expected, ledger: Ledger
) -> Differences:
    """Without what the rewrite means to change."""
    left = dict(found)
    gone = ledger.paths()
    for tree, what in ((after.tree, NEW), (before.tree, LOST)):
        paths = [path for path in found if found[path] == {what}]
        for path in sorted(empty_folders(paths, tree, expected.cache_targets, gone)):
            ledger.add("emptied folders", "nothing is in them but what is not compared or is in a cache mount", path)
            del left[path]
    gone_folders = {folder for path in expected.left_out for folder in ancestors(posixpath.dirname(path))}
    for path in sorted(left):
        old, new = before.tree.get(path), after.tree.get(path)
        if new is not None and any(expected.written.get(name) == new.digest for name in _endings(path)):
            ledger.add("files beside the Dockerfile", "the rewrite writes them, and the build copies them", path)
            del left[path]
        elif old is not None and new is None:
            folder = old.kind == "folder" and not gone_folders.isdisjoint(_endings(path))
            if folder or any(expected.left_out.get(name) == old.digest for name in _endings(path)):
                ledger.add("left out of the context", "the new .dockerignore keeps them from the build", path)
                del left[path]
    return left


def _endings(path: str) -> Iterator[str]:
    """A path, and what it is called seen from each of its folders."""
    while path:
        yield path
        path = path.partition("/")[2]


def _without_times(before: Image, after: Image, found: Differences, ledger: Ledger) -> Differences:
    """Without archives and compiled files that differ in nothing but the times in them."""
    paths = [path for path in found if found[path] == {"content"} and kind_of(path)]
    if not paths:
        return found
    was, now = timeless(before, paths), timeless(after, paths)
    left = dict(found)
    for path in paths:
        if path in was and was[path] == now.get(path):
            ledger.add("times inside files", "archives and compiled files are equal but for the times in them", path)
            del left[path]
    return left


def without_noise(before: Image, again: Image, found: Differences, ledger: Ledger) -> Differences:
    """Without what differs between two builds of the original as well."""
    noise = differing(before.tree, again.tree)
    why = "differs between two builds of the original too"
    busy = _busy_folders(noise)
    left: Differences = {}
    for path, what in found.items():
        other = noise.get(path, frozenset())
        rest = what - other
        if what & {LOST, NEW} and posixpath.dirname(path) in busy and not other:
            ledger.add("files of changing names", "two builds of the original name them differently too", path)
        elif not rest:
            ledger.add(f"not reproducible: {', '.join(sorted(what))}", why, path)
        else:
            left[path] = rest
    return left


def _busy_folders(noise: Differences) -> frozenset[str]:
    """Folders in which each of two builds has files that the other one has not."""
    folders: dict[str, set[str]] = {}
    for path, what in noise.items():
        folders.setdefault(posixpath.dirname(path), set()).update(what & {LOST, NEW})
    return frozenset(folder for folder, what in folders.items() if len(what) == 2)


def left_behind(before: Image, after: Image) -> tuple[LeftBehind, ...]:
    """What only the old image has, by folder, the largest first."""
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for path, entry in before.tree.items():
        if path in after.tree or entry.kind == "folder":
            continue
        folder = _top_folder(path)
        files[folder] += 1
        sizes[folder] += entry.size
    order = sorted(files, key=lambda folder: (-sizes[folder], folder))
    found = [LeftBehind(folder, files[folder], sizes[folder]) for folder in order[:_TOP]]
    if rest := order[_TOP:]:
        found.append(LeftBehind("elsewhere", sum(files[name] for name in rest), sum(sizes[name] for name in rest)))
    return tuple(found)


def _top_folder(path: str) -> str:
    """Two levels of folders say enough, one below places that everything is in."""
    parts = path.split("/")[:-1]
    deep = 3 if parts[:1] == ["usr"] and parts[1:2] == ["local"] else 2
    return f"/{'/'.join(parts[:deep])}"


def times_only(before: Tree, after: Tree, paths: Iterable[str]) -> Iterator[str]:
    """Paths whose entries are equal but for their times."""
    for path in paths:
        old, new = before.get(path), after.get(path)
        if old is not None and new is not None and old.modified != new.modified:
            yield path


def described(before: Image, after: Image, found: Differences) -> tuple[FileDifference, ...]:
    """Differences for people: a folder that is lost or new stands for all below it, unless that is one thing only."""
    children = Counter(posixpath.dirname(path) for path in found)
    differences = []
    whole: dict[str, int] = {}
    for path in sorted(found):
        what = found[path]
        top = _covering(path, whole)
        if top is not None and what == found[top]:
            whole[top] += 1
            continue
        entry = before.tree.get(path) or after.tree.get(path)
        if what <= {LOST, NEW} and entry is not None and entry.kind == "folder":
            if children[path] == 1:
                continue
            whole[path] = 0
        differences.append((path, what))
    return tuple(
        FileDifference(f"/{path}", ", ".join(sorted(what)), _detail(before, after, path, what, whole.get(path, 0)))
        for path, what in differences
    )


def _covering(path: str, whole: Mapping[str, int]) -> str | None:
    return next((folder for folder in ancestors(posixpath.dirname(path)) if folder in whole), None)


def _detail(before: Image, after: Image, path: str, what: frozenset[str], below: int) -> str:
    return entry_detail(before.tree.get(path), after.tree.get(path), what, below)


def entry_detail(old: Entry | None, new: Entry | None, what: frozenset[str], below: int = 0) -> str:
    """For people, how two entries differ in ``what``; ``below``: so many more things are lost or new below a folder."""
    if old is None or new is None:
        entry = old or new
        kind = entry.kind if entry is not None else ""
        return f"a {kind} with {below} more below it" if below else "" if kind == "file" else f"a {kind}"
    parts = []
    if "type" in what:
        parts.append(f"was a {old.kind}, is a {new.kind}")
    if "mode" in what:
        parts.append(f"was {old.mode:04o}, is {new.mode:04o}")
    if "owner" in what:
        parts.append(f"was {old.uid}:{old.gid}, is {new.uid}:{new.gid}")
    if "target" in what:
        parts.append(f"was → {old.target}, is → {new.target}")
    if "content" in what:
        parts.append(
            f"was {old.size} bytes, is {new.size}" if old.size != new.size else f"{old.size} bytes, other ones"
        )
    if "extended attributes" in what:
        names = sorted({name for name, _ in {*old.xattrs} ^ {*new.xattrs}})
        parts.append(f"{', '.join(names)}")
    return "; ".join(parts)
