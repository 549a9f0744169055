"""Splitting a Node.js file: the same base image twice, dev dependencies and sources stay in the build stage.

What only the build needs is pruned from node_modules where it was installed, so that the runtime stage has the very
same production dependencies, compiled ones included.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from dataclasses import replace

from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.splits.brought import ignored, origin_of
from buildopt.dockerfile.splits.node_dependencies import fork, lock_taken_back
from buildopt.dockerfile.splits.node_keep import Keep, kept
from buildopt.dockerfile.splits.node_owners import owners
from buildopt.dockerfile.splits.node_plan import BUILD_PROGRAMS, MANAGERS, Plan, options_of, read_plan, state_at_end
from buildopt.dockerfile.splits.node_project import read_text
from buildopt.dockerfile.splits.node_prune import old_npm, prune_command, understood
from buildopt.dockerfile.splits.node_replays import corepack_copies, repeated_parts
from buildopt.dockerfile.splits.node_runs import (
    Kind,
    install_of,
)
from buildopt.dockerfile.splits.splits import Fork, No, Split, Subject, casing, stage_names

_BASES = frozenset(("node", "debian", "ubuntu", "alpine", "buildpack-deps", "mhart/alpine-node", "bitnami/node"))
_TITLE_OF_FOUR = (
    "stages for the dependencies, the build and the production dependencies, and a runtime stage on the same image"
)
_STARTERS = re.compile(
    r"\b(?:node|npm|yarn|pnpm|npx|serve|http-server|pm2(?:-runtime)?|next|nuxt|tini|dumb-init|sh|bash|[\w./-]+\.sh)\b"
)
_BUILDING = re.compile(
    r"\b(?:build|compile|bundle|tsc|webpack|rollup|ncc|esbuild|generate|export|dist|gulp|grunt|transpile)\b|\bbuild:|:build\b"
)


def concerns(subject: Subject) -> bool:
    """Whether Node.js starts the container, and a RUN builds something with it."""
    if subject.final.base.repository not in _BASES:
        return False
    entry = subject.entry()
    if entry is not None and not _STARTERS.search(" ".join(entry.values)) and subject.final.base.repository != "node":
        return False
    for run in subject.runs:
        for command in run.commands:
            words = " ".join(word.raw for word in command.argv)
            name = command.name or ""
            if (
                (
                    name in MANAGERS
                    or name in ("npx", "node")
                    or "node_modules/" in words
                    or name in BUILD_PROGRAMS.values()
                )
                and (_BUILDING.search(words))
                and install_of(command, "/") is None
                and not re.search(r"\s(?:-g|--global|global)\b", words)
            ):
                return True
    return False


def plan(subject: Subject) -> Split:
    """Ship what the program needs. Raises No."""
    if subject.context is None:
        raise No(subject.origin, "only package.json and the sources tell what is needed at run time: give --context")
    found = read_plan(subject)
    understood(found)
    prunes = prune_command(found)
    options = {option for step in found.installs for option in options_of(step)}
    peers = (
        found.installs[-1].tool != "npm" or old_npm(found) or bool(options & {"--legacy-peer-deps", "--force", "-f"})
    )
    peers = peers or "legacy-peer-deps" in found.project.text(".npmrc")
    keep = kept(found.project, found.built, found.needs, found.starting, pruned=bool(prunes), peers=peers)
    shipped = ""
    parted = fork(found, prunes) if prunes and keep.modules and not keep.whole else None
    if prunes and keep.modules and not keep.problem and parted is None and (lock := lock_taken_back(found)):
        reason = f"{lock} of the sources may not fit what is installed"
        keep = replace(keep, problem=reason, development=True)
    if keep.problem and keep.development:
        other = kept(found.project, found.built, found.needs, found.starting, pruned=False)
        if other.left and not other.problem:
            keep, prunes, shipped = other, "", keep.problem
    if keep.problem:
        raise No(_line(found, started=keep.started), keep.problem)
    keep = _with_settings(found, _without_removed(found, keep))
    replayed, texts = repeated_parts(found)
    if not prunes and not keep.left:
        raise No(
            subject.origin,
            "all of it is needed at run time: there are no dev dependencies, and no sources to leave behind",
        )
    pruned = bool(prunes) and keep.modules
    parted = parted if pruned and not keep.whole else None
    copies = [*_copies(found, keep, parted), *corepack_copies(found)]
    finish: tuple[str, ...] = ()
    if pruned and parted is None:
        finish = (*_blank(subject), f"{casing(subject)('RUN')} {prunes}")
    return Split(
        subject.written_base,
        tuple(copies),
        "a build stage, and a runtime stage on the same image" if parted is None else _TITLE_OF_FOUR,
        _why(keep, shipped, pruned=pruned),
        replayed=replayed,
        relocated=_only_at_run_time(found, replayed - texts.keys()),
        texts=texts,
        finish=finish,
        fork=parted,
    )


def _only_at_run_time(found: Plan, repeated: Collection[int]) -> frozenset[int]:
    """Of the RUNs that are repeated, those at the end that only install programs: no build step comes behind them."""
    last: set[int] = set()
    for instruction in reversed(found.subject.head):
        start = instruction.span.start
        steps = [step for step in found.steps if step.offset == start]
        plain = steps and all(step.kind is Kind.GLOBAL and not MANAGERS.intersection(step.names) for step in steps)
        if start not in repeated or not plain:
            break
        last.add(start)
    return frozenset(last)


def _blank(subject: Subject) -> tuple[str, ...]:
    """An empty line where the file has one before its last RUN."""
    line = subject.head[-1].lines[0]
    before = (
        subject.source.text[subject.source.line_start(line - 1) : subject.source.line_start(line)] if line > 1 else "x"
    )
    return () if before.strip() else ("",)


def _without_removed(found: Plan, keep: Keep) -> Keep:
    """What RUNs remove, or move away, cannot be copied."""
    gone = {
        posixpath.relpath(path, found.project.folder)
        for step in found.steps
        if step.kind is Kind.OWN and step.tool in ("rm", "mv")
        for path in (step.names if step.tool == "rm" else step.names[:-1])
    }
    if keep.whole or not gone:
        return keep
    if any(re.search(r"[*?\[{]", path) for path in gone):
        if found.project.folder == "/" or "package.json" not in keep.paths:
            raise No(found.subject.head[-1], "which files a RUN removes is not known")
        return replace(keep, whole=True, left=())
    made = {
        posixpath.relpath(path, found.project.folder)
        for step in found.steps
        if step.kind is Kind.OWN and step.tool not in ("rm", "sed", "chmod")
        for path in step.names
    }
    paths = tuple(path for path in keep.paths if path not in gone or path == "node_modules")
    lost = next((path for path in found.built.outputs if path in gone - made), None)
    if lost is not None:
        raise No(found.subject.head[-1], f"{lost} is removed again")
    return replace(keep, paths=paths)


def _with_settings(found: Plan, keep: Keep) -> Keep:
    """Git may hide .env, which lies on the machine that builds, and is copied with all the rest."""
    if keep.whole or "package.json" not in keep.files or any(name.startswith(".env") for name in keep.files):
        return keep
    project, context = found.project, found.subject.context
    assert context is not None
    place = origin_of(found.entries, posixpath.join(project.folder, "package.json")) or ""
    below = posixpath.dirname(place)
    sent = not ignored(context, found.subject.source.path).hides(posixpath.join(below, ".env"))
    all_of_it = any(
        item.keyword in ("COPY", "ADD")
        and any(posixpath.normpath(word.text.strip("/") or ".") == (below or ".") for word in item.words[:-1])
        for item in found.subject.head
    )
    hidden_by_git = re.search(
        r"^/?(?:\*\*/)?\.env\b",
        "\n".join((project.text(".gitignore"), read_text(context / ".gitignore"))),
        re.MULTILINE,
    )
    if not (sent and all_of_it and hidden_by_git):
        return keep
    return replace(keep, paths=(*keep.paths, ".env"), files=keep.files | {".env"})


def _line(found: Plan, *, started: bool) -> Instruction:
    """Where a reason stands: the RUN that installs, unless it is about what the container starts."""
    entry = found.subject.entry()
    if started and entry is not None:
        return entry
    return found.installs[-1].run.instruction if found.installs else found.subject.origin


def _why(keep: Keep, shipped: str, *, pruned: bool) -> str:
    behind = []
    if not keep.modules:
        behind.append("node_modules")
    elif pruned:
        behind.append("dev dependencies")
    if keep.left:
        behind.append("sources")
    behind.append("caches of installs")
    text = ", ".join(behind[:-1]) + (" and " if len(behind) > 1 else "") + behind[-1]
    if shipped:
        return f"{text} stay in the build stage; dev dependencies are shipped, because {shipped}"
    return f"{text} stay in the build stage; what runs is copied from it"


def _copies(found: Plan, keep: Keep, parted: Fork | None) -> list[str]:
    """The lines that bring what is kept. Files of one owner share a line."""
    subject, project = found.subject, found.project
    word, stage = casing(subject)("COPY"), stage_names(subject)[0]
    near = state_at_end(subject).workdir == project.folder
    owned = owners(subject, project, found.entries, found.steps, keep.paths, whole=keep.whole)
    if keep.whole:
        chown = f" --chown={owned['.']}" if owned.get(".") else ""
        return [f"{word} --from={stage}{chown} {project.folder} {'./' if near else project.folder}"]
    lines: list[str] = []
    files: dict[str, list[str]] = {}
    for path in keep.paths:
        if path in keep.files:
            files.setdefault(owned.get(path, ""), []).append(path)
    for owner, names in files.items():
        if any(name.startswith(".env") for name in names):
            # Often there is none where the repository has just been cloned.
            names = [*(name for name in names if not name.startswith(".env")), ".env*"]
        chown = f" --chown={owner}" if owner else ""
        places = " ".join(posixpath.join(project.folder, name) for name in names)
        lines.append(f"{word} --from={stage}{chown} {places} {'./' if near else project.folder.rstrip('/') + '/'}")
    for path in keep.paths:
        if path not in keep.files:
            chown = f" --chown={owned[path]}" if owned.get(path) else ""
            target = f"./{path}" if near else posixpath.join(project.folder, path)
            origin = parted.other if parted is not None and path == "node_modules" else stage
            lines.append(f"{word} --from={origin}{chown} {posixpath.join(project.folder, path)} {target}")
    return lines
