"""Splitting a PHP file: the application is built beside Composer, git and Node.js, and shipped without them.

Both stages start from one that holds the extensions, their libraries and the settings: nothing that the program is
linked with is chosen anew. COPY keeps owners and modes of what lies in the application's folder, but those of that
folder itself are the image's: what sets them is repeated.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from pathlib import Path

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.splits import same_image
from buildopt.dockerfile.splits.brought import brought, origin_of
from buildopt.dockerfile.splits.php_project import (
    TOOLS,
    builds_outside,
    cache_elsewhere,
    fetches_browsers,
    is_locked,
    needed_tools,
    scripts_are_known,
)
from buildopt.dockerfile.splits.php_runs import (
    Kind,
    installs,
    kind,
    other_node,
    parts,
    project_folder,
)
from buildopt.dockerfile.splits.php_stages import Parts, target_of, three_stages
from buildopt.dockerfile.splits.splits import (
    COPIED,
    MOVED,
    No,
    Split,
    Subject,
    uncovered,
)

_SHARED = word_set("/ /var /usr /usr/src /usr/local /usr/share /opt /home /root /srv /tmp /etc /mnt /app/.. /var/lib")
_OWN = ("/var/www", "/var/www/html")  # folders of the image
_PLACES = re.compile(
    r"\w*(?:_CACHE|STORAGE\w*|COMPILED\w*|CACHE_DIR|LOG_DIR|VENDOR_DIR|BIN_DIR|CACHE_PATH|BUILD_DIR|LOG_PATH)"
)
_COMPOSER = re.compile(r"(?:[\w.-]+/)*composer(?:[:@][\w.:-]+)?")


def concerns(subject: Subject) -> bool:
    """Whether an image of PHP installs packages of a project."""
    return subject.final.base.repository == "php" and any(
        installs(command) for run in subject.runs for command in run.commands
    )


def plan(subject: Subject) -> Split:
    """Ship the folder of the application. Raises No."""
    context = subject.context
    if context is None:
        raise No(subject.origin, "only the sources tell which programs run: give --context")
    last = same_image.last_build(subject, lambda run: any(map(installs, run.commands)))
    user = next((item for item in subject.head if item.keyword == "USER"), None)
    if user is not None:
        raise No(user, "the user changes before the application is built")
    _started(subject, context)
    folder = _folder(subject, last)
    needed = needed_tools(subject.entry() or subject.origin, context, same_image.run_in_containers(subject, context))
    if "composer" in needed:
        raise No(
            subject.entry() or subject.origin, "containers may run composer, which only the build stage would have"
        )
    if any(other_node(run, folder) for run in subject.runs):
        needed |= {"node"}
    found = _kinds(subject, folder, needed)
    _project(subject, context, folder, needed)
    _settings(subject, folder)
    uncovered(subject, [folder])
    return three_stages(subject, folder, found, needed)


def _started(subject: Subject, context: Path) -> None:
    """Refuse images that are made for working in them. Raises No."""
    entry = subject.entry()
    if entry is None and re.search(r"(?:^|-)(?:apache|fpm)(?:-|$)", subject.final.base.tag) is None:
        raise No(subject.origin, "there is no CMD or ENTRYPOINT: the image may be meant for building in it")
    if same_image.develops(subject, context):
        raise No(entry or subject.origin, "a compose file lays the sources over the image's: they are worked on in it")


def _folder(subject: Subject, last: Run) -> str:
    """The application's folder: where Composer runs, or what was copied around it. Raises No."""
    found = next((project_folder(part) for part in reversed(list(parts(last))) if installs(part.command)), "")
    for item in subject.head:
        if item.keyword in ("COPY", "ADD") and item.flag("from") is None:
            target = target_of(subject, item)
            if relation(target, found) is Relation.PARENT and target not in _SHARED:
                found = target
    if found in _SHARED or not re.fullmatch(r"/[\w./-]+", found):
        raise No(last.instruction, f"{found or 'its folder'} holds more than the application")
    return found


def _kinds(subject: Subject, folder: str, needed: Collection[str]) -> Parts:
    """What each RUN, COPY and ADD of the head does. Raises No."""
    found = Parts()
    runs = {run.instruction.span.start: run for run in subject.runs}
    for item in subject.head:
        start = item.span.start
        if item.keyword in ("COPY", "ADD"):
            found.kinds[start] = _copies(subject, item, folder)
        elif item.keyword == "RUN":
            found.kinds[start] = kind(runs[start], folder, needed, strict=found.fork >= 0)
        elif item.keyword not in MOVED | COPIED:
            raise No(item, f"{item.keyword} is not moved between stages")
        if found.kinds.get(start) is Kind.APP:
            found.fork = start if found.fork < 0 else found.fork
            found.last = start
    for start, run in runs.items():
        if found.kinds[start] is Kind.KEEP:
            for command in run.commands:
                tool = next((key for key, names in TOOLS.items() if command.name in names and key not in needed), None)
                if tool is not None:
                    raise No(run.instruction, f"`{command.name}` is started where the runtime stage is made")
    return found


def _copies(subject: Subject, item: Instruction, folder: str) -> Kind:
    target = target_of(subject, item)
    image = item.flag("from")
    names = [posixpath.basename(word.text.rstrip("/")) for word in item.words[:-1]]
    of_composer = image is not None and _COMPOSER.fullmatch(image.value or "") and names == ["composer"]
    if of_composer and "$" not in item.arguments.text and target.startswith("/usr/"):
        return Kind.TOOL
    if relation(target, folder) is Relation.INSIDE:
        return Kind.APP
    if relation(target, folder) is Relation.NONE:
        return Kind.KEEP
    paths = [posixpath.join(target, name) for name in names]
    if image is None:
        paths = [entry.path for entry in brought(subject, [item])]
    if any(relation(path, folder) is not Relation.NONE for path in paths):
        raise No(item, "it may copy into the application's folder from above")
    return Kind.KEEP


def _project(subject: Subject, context: Path, folder: str, needed: Collection[str]) -> None:
    """Refuse builds of the project that may write elsewhere. Raises No."""
    copies = [
        item
        for item in subject.head
        if item.keyword in ("COPY", "ADD")
        and item.flag("from") is None
        and relation(target_of(subject, item), folder) is Relation.INSIDE
    ]
    entries = brought(subject, copies)
    for run in subject.runs:
        for part in parts(run):
            origin = origin_of(entries, project_folder(part) if part.command.name != "npm" else part.folder)
            where = context / origin if origin is not None else None
            if installs(part.command):
                if where is None or not is_locked(where):
                    raise No(run.instruction, "without composer.lock it is not known which packages are installed")
                if "require" in part.command.texts:
                    raise No(run.instruction, "packages are installed that composer.lock does not name")
                if "--no-scripts" not in part.command.texts:
                    scripts_are_known(run.instruction, where)
                    _caches(run, where)
            elif part.command.name == "composer" and where is not None and (where / "composer.json").is_file():
                scripts_are_known(run.instruction, where)
            elif part.command.name in ("npm", "npx", "yarn", "pnpm") and part.folder == folder:
                if where is None or builds_outside(where) or ("node" in needed and fetches_browsers(where)):
                    raise No(run.instruction, "packages of Node.js may write outside of the application's folder")
            elif part.command.name == "console" or "console" in " ".join(part.command.texts[:1]):
                _caches(run, where)


def _caches(run: Run, where: Path | None) -> None:
    if where is None or cache_elsewhere(where):
        raise No(run.instruction, "the kernel of the application may put its caches elsewhere")


def _settings(subject: Subject, folder: str) -> None:
    """Refuse variables that lead files of the build elsewhere. Raises No."""
    for item in subject.head:
        for pair in item.pairs if item.keyword in ("ENV", "ARG") else ():
            value = subject.final.environment.get(pair.key.text) or (pair.value.text if pair.value else "")
            place = value.strip("\"'")
            if (
                _PLACES.fullmatch(pair.key.text)
                and place.startswith("/")
                and relation(place, folder) is not Relation.INSIDE
            ):
                raise No(item, f"{pair.key.text} may lead files of the build elsewhere")
    creator = next((item for item in subject.head if _makes(subject, item, folder)), None)
    if folder not in _OWN and creator is not None and creator.flag("chown") is not None:
        raise No(creator, f"whose {folder} itself is, is not certain")


def _makes(subject: Subject, item: Instruction, folder: str) -> bool:
    """Whether the folder is there behind an instruction, in case that it was not before."""
    if item.keyword == "WORKDIR":
        place = subject.known[item.span.start].value(item.arguments.text, subject.dockerfile.escape) or "/"
        there = posixpath.join(subject.known[item.span.start].workdir or "/", place)
        return relation(posixpath.normpath(there), folder) is Relation.INSIDE
    return item.keyword in ("COPY", "ADD") and relation(target_of(subject, item), folder) is Relation.INSIDE
