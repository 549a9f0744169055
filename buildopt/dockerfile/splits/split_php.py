"""Splitting a PHP file: the application is built beside Composer, git and Node.js, and shipped without them.

Both stages start from one that holds the extensions, their libraries and the settings: nothing that the program is
linked with is chosen anew. COPY keeps owners and modes of what lies in the application's folder, but those of that
folder itself are the image's: what sets them is repeated.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from buildopt.dockerfile.managers import Use, word_set
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
    configures,
    heavy,
    idle,
    installs,
    kind,
    other_node,
    owners_above,
    parts,
    project_folder,
)
from buildopt.dockerfile.splits.repeats import operands, secrets
from buildopt.dockerfile.splits.splits import (
    COPIED,
    MOVED,
    Fork,
    No,
    Split,
    Subject,
    casing,
    copy_line,
    stage_names,
    uncovered,
)

_SHARED = word_set("/ /var /usr /usr/src /usr/local /usr/share /opt /home /root /srv /tmp /etc /mnt /app/.. /var/lib")
_OWN = ("/var/www", "/var/www/html")  # folders of the image
_PLACES = re.compile(
    r"\w*(?:_CACHE|STORAGE\w*|COMPILED\w*|CACHE_DIR|LOG_DIR|VENDOR_DIR|BIN_DIR|CACHE_PATH|BUILD_DIR|LOG_PATH)"
)
_NAME = re.compile(r"\$\{?([A-Za-z_]\w*)")
_BREAK = r"\\\\\r?\n\s*"
_COMPOSER = re.compile(r"(?:[\w.-]+/)*composer(?:[:@][\w.:-]+)?")


def concerns(subject: Subject) -> bool:
    """Whether an image of PHP installs packages of a project."""
    return subject.final.base.repository == "php" and any(
        installs(command) for run in subject.runs for command in run.commands
    )


@dataclass(slots=True)
class _Parts:
    """What becomes of the head's instructions, by their offsets."""

    kinds: dict[int, Kind] = field(default_factory=dict)
    fork: int = -1  # the first that makes the application
    last: int = -1  # and the last one


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
    return _split(subject, folder, found, needed)


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
            target = _target(subject, item)
            if relation(target, found) is Relation.PARENT and target not in _SHARED:
                found = target
    if found in _SHARED or not re.fullmatch(r"/[\w./-]+", found):
        raise No(last.instruction, f"{found or 'its folder'} holds more than the application")
    return found


def _target(subject: Subject, item: Instruction) -> str:
    state = subject.known[item.span.start]
    text = state.value(item.words[-1].text, subject.dockerfile.escape) if item.words else None
    if text is None and item.words and re.match(r"\"?\$\{?PHP_INI_DIR\}?", item.words[-1].text):
        text = re.sub(r"\$\{?PHP_INI_DIR\}?", "/usr/local/etc/php", item.words[-1].text)
    if text is None or state.workdir is None:
        raise No(item, "where it copies to is not certain")
    return posixpath.normpath(posixpath.join(state.workdir, text))


def _kinds(subject: Subject, folder: str, needed: Collection[str]) -> _Parts:
    """What each RUN, COPY and ADD of the head does. Raises No."""
    found = _Parts()
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
    target = _target(subject, item)
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
        and relation(_target(subject, item), folder) is Relation.INSIDE
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
    return item.keyword in ("COPY", "ADD") and relation(_target(subject, item), folder) is Relation.INSIDE


def _split(subject: Subject, folder: str, found: _Parts, needed: Collection[str]) -> Split:
    """Both stages. Raises No where nothing would stay behind."""
    runs = {run.instruction.span.start: run for run in subject.runs}
    own = idle(needed)
    changed: dict[int, str] = {}
    lean: dict[int, str] = {}
    packages: list[str] = []
    recommended = False
    for start, run in runs.items():
        what = found.kinds[start]
        text = _lean(subject, run, own) if what is Kind.KEEP else None
        if what is Kind.PACKAGES or text is not None:
            words = [(word, use) for use in run.found for name, word in _words(use) if name in own]
            packages += [word for word, _ in words if word not in packages]
            recommended = recommended or any("--no-install-recommends" not in use.command.texts for _, use in words)
        if what is Kind.PACKAGES:
            changed[start] = ""
        elif text is not None:
            lean[start] = text
    _lists(subject, found, runs)
    tools = [item for item in subject.head if found.kinds.get(item.span.start) is Kind.TOOL]
    if not tools and not packages:
        raise No(subject.origin, "the image keeps all that the build needs: there is nothing to leave behind")
    lines = [_install(subject, packages, recommended)] if packages else []
    for item in tools:
        if item.span.start < found.fork:
            _movable(subject, item, found, runs)
            lines.append(_text(subject, item))
            changed[item.span.start] = ""
    added, late, replayed = _behind(subject, found, runs, folder)
    for item in (*added, *late):
        changed[item.span.start] = ""
    changed.update({start: text for start, text in lean.items() if start not in changed and start not in replayed})
    for start in replayed & lean.keys():
        changed[start] = lean[start]
    owners = [
        line for start, run in runs.items() if found.kinds[start] is Kind.APP for line in owners_above(run, folder)
    ]
    word = casing(subject)
    before = [item for item in subject.head if item.span.start < found.fork]
    behind = next(
        (item for item in reversed(before) if item.keyword not in MOVED and changed.get(item.span.start) != ""),
        subject.origin,
    )
    common = next(name for name in ("base", "php", "common") if name not in stage_names(subject))
    hidden = {start for start in secrets(subject) if start > behind.span.start}
    return Split(
        common,
        (
            copy_line(subject, folder),
            *([f"{word('RUN')} {' && '.join(dict.fromkeys(owners))}"] if owners else []),
            *(_text(subject, item, lean) for item in late),
        ),
        "a build stage, and a runtime stage on the same image",
        f"{folder} is shipped; what only the build needs stays behind: {_named(tools, packages)}",
        replayed=frozenset(replayed),
        relocated=frozenset(hidden),
        texts={start: lean[start] for start in replayed & lean.keys()},
        changed=changed,
        fork=Fork(behind, common, "", tuple(lines), tuple(_text(subject, item, lean) for item in added)),
    )


def _named(tools: Collection[Instruction], packages: Collection[str]) -> str:
    own = ["composer"] if any("composer" in item.arguments.text for item in tools) else []
    return ", ".join([*(re.split("[=<>~]", name)[0] for name in packages), *own]) or "Node.js"


def _behind(
    subject: Subject, found: _Parts, runs: dict[int, Run], folder: str
) -> tuple[list[Instruction], list[Instruction], set[int]]:
    """What stands behind the first sources and is of the system: for the common stage, the runtime stage, or both.

    Raises No where it would see other settings there.
    """
    added: list[Instruction] = []
    late: list[Instruction] = []
    replayed: set[int] = set()
    rest = [item for item in subject.head if item.span.start > found.fork]
    plain = True  # all before it that is of the system is added too
    for item in rest:
        start = item.span.start
        if found.kinds.get(start) is not Kind.KEEP:
            continue
        names = set(_NAME.findall(item.logical.text))
        between = {pair.key.text for other in rest if other.span.start < start for pair in other.pairs}
        run = runs.get(start)
        free = not names & between and (_absolute(subject, item) if run is None else not _relative(run))
        quiet = run is None or configures(run)
        if plain and free and ((run is not None and heavy(run)) or (quiet and start < found.last)):
            added.append(item)
            continue
        if start > found.last:
            after = {pair.key.text for other in rest if other.span.start > start for pair in other.pairs}
            moves = any(other.keyword == "WORKDIR" and other.span.start > start for other in rest)
            if names & after or (moves and (run is None or _relative(run))):
                raise No(item, "the settings behind it would be there before")
            late.append(item)
        else:
            replayed.add(start)
        plain = plain and quiet and (run is not None or _is_setting(_target(subject, item)))
    return added, late, replayed


def _absolute(subject: Subject, item: Instruction) -> bool:
    return item.flag("from") is None and item.words[-1].text.startswith("/") and _is_setting(_target(subject, item))


def _is_setting(target: str) -> bool:
    """Whether packages and extensions are installed in the same way without the file."""
    return target.startswith(("/etc/apache2", "/etc/nginx", "/etc/supervisor", "/usr/local/etc", "/etc/cron"))


def _relative(run: Run) -> bool:
    """Whether it may depend on the folder that it runs in."""
    folder = run.state.workdir or "/"
    return (
        any(path is None or relation(path, folder) is Relation.INSIDE for part in parts(run) for path in part.paths)
        and folder != "/"
    )


def _words(use: Use) -> Iterator[tuple[str, str]]:
    """The names of packages that it installs, and how they are written."""
    if use.manager.name in ("apt", "apk") and use.subcommand in ("install", "add"):
        spans = {span.start: name for name, span in operands(use)}
        for word in use.rest:
            if word.span.start in spans:
                yield spans[word.span.start], word.raw


def _lean(subject: Subject, run: Run, own: Collection[str]) -> str | None:
    """A RUN of the system without what only the build needs; None where it has nothing of it, or must keep it."""
    names = {name for use in run.found for name, _ in _words(use)}
    removes = any(use.subcommand in same_image.REMOVES for use in run.found if use.manager.name in ("apt", "apk"))
    virtual = any(text in ("-t", "--virtual") for use in run.found for text in use.command.texts)
    if not names & set(own) or removes or virtual or re.search(r"nodesource|dl\.yarnpkg", run.text):
        return None
    text = same_image.lean(subject, run, lambda name: name not in own)
    if text is not None and names <= set(own):  # nothing is left to be installed
        return re.sub(rf"^(\w+\s+)apt-get (?:-\w+ )*update(?: -\w+)*\s*(?:{_BREAK})?&&\s*(?:{_BREAK})?", r"\1", text)
    return text


def _lists(subject: Subject, found: _Parts, runs: dict[int, Run]) -> None:
    """Refuse installs from lists of packages that a RUN of the build stage would fetch. Raises No."""
    fetched = False
    for start, run in runs.items():
        if found.kinds[start] is Kind.PACKAGES:
            fetched = fetched or same_image.fetches_lists(run)
        elif found.kinds[start] is Kind.KEEP and fetched:
            uses = [use for use in run.found if use.manager.name == "apt"]
            if uses and not any(use.subcommand == "update" for use in uses):
                raise No(run.instruction, "the lists of packages come from another RUN")


def _install(subject: Subject, packages: Collection[str], recommended: bool) -> str:
    word = casing(subject)("RUN")
    names = " ".join(packages)
    if subject.final.base.distribution == "alpine":
        return f"{word} apk add --no-cache {names}"
    option = "" if recommended else "--no-install-recommends "
    return f"{word} apt-get update && apt-get install -y {option}{names} && rm -rf /var/lib/apt/lists/*"


def _movable(subject: Subject, item: Instruction, found: _Parts, runs: dict[int, Run]) -> None:
    """Refuse a RUN that would leave its files in another folder. Raises No."""
    run = runs.get(item.span.start)
    if run is None or run.state.workdir == subject.known[found.fork].workdir:
        return
    if re.search(r"getcomposer\.org/\S+\s*\|", run.text) and "--install-dir" in run.text and ">" not in run.text:
        return
    if "nodesource.com/" in run.text or any(command.name in ("npm", "corepack") for command in run.commands):
        return
    raise No(item, "it would run in another folder")


def _text(subject: Subject, item: Instruction, lean: dict[int, str] | None = None) -> str:
    """An instruction with the comments above it."""
    whole = subject.dockerfile.with_comments(item)
    text = subject.source.text
    own = (lean or {}).get(item.span.start) or text[item.span.start : item.span.end]
    return text[whole.start : item.span.start] + own
