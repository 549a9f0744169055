"""Who owns what a build of a Node.js project leaves in its folder."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from buildopt.dockerfile.splits.brought import Brought
from buildopt.dockerfile.splits.node_project import Project
from buildopt.dockerfile.splits.node_runs import Kind, Step
from buildopt.dockerfile.splits.splits import No, Subject

_MADE = (Kind.INSTALL, Kind.BUILD, Kind.ADD, Kind.OWN)


def owners(
    subject: Subject,
    project: Project,
    entries: Sequence[Brought],
    steps: Sequence[Step],
    paths: Sequence[str],
    *,
    whole: bool,
) -> dict[str, str]:
    """What ``--chown`` has to say for each path, relative to the project; root's are left out.

    Files below a folder keep their owner when they are copied between stages, the folder itself does not.
    """
    found: dict[str, str] = {}
    last_made = max((step.offset for step in steps if step.kind in _MADE), default=-1)
    for path in (".",) if whole else paths:
        place = posixpath.normpath(posixpath.join(project.folder, path))
        owner, made, first = _first_owner(subject, project, entries, steps, place)
        below = False
        for step in steps:
            if step.kind is not Kind.OWNER or step.offset < made:
                continue
            named = step.names[0] if ":" in step.names[0] else f"{step.names[0]}:{owner.partition(':')[2] or 'root'}"
            for target in step.names[1:]:
                covers = place == target or (step.tool == "R" and place.startswith(f"{target.rstrip('/')}/"))
                if covers and (step.tool == "R" or path in project.files):
                    owner, below = (
                        named,
                        below or (step.offset < last_made and first != named and path not in project.files),
                    )
                elif target.startswith(f"{place}/") and not whole:
                    below = True
        if owner in ("root:root", "0:0", "root", "0"):
            owner = ""
        if owner and below and not whole:
            raise No(subject.head[-1], f"files of {place} belong to several users")
        if owner and not whole:
            found[path] = owner
    return found


def _first_owner(
    subject: Subject, project: Project, entries: Sequence[Brought], steps: Sequence[Step], place: str
) -> tuple[str, int, str]:
    """The owner that a path is made with, and the offset of what made it."""
    entry = next(
        (
            item
            for item in entries
            if item.path == place or place.startswith(f"{item.path}/") or item.path.startswith(f"{place}/")
        ),
        None,
    )
    if entry is not None and posixpath.relpath(place, project.folder) != "node_modules":
        return entry.owner, entry.instruction.span.start, entry.owner
    kinds = (Kind.INSTALL, Kind.ADD) if place.endswith("/node_modules") else _MADE
    making = [step for step in steps if step.kind in kinds]
    if not making:
        return "", -1, ""
    step = making[0] if place.endswith("/node_modules") else making[-1]
    user = step.run.state.user
    if step.run.state.root:
        return "", step.offset, ""
    if user is None:
        raise No(step.run.instruction, "who owns what is built is not known")
    return (f"{user}:{user}" if user == "node" else user), step.offset, user
