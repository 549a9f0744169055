"""Commands of Node.js projects, followed through scripts of package.json, npx and the like to what runs in the end."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.runs import SHELLS
from buildopt.dockerfile.shell import Command, parse_shell
from buildopt.dockerfile.splits.node_project import Project, program_of

_MANAGERS = frozenset(("npm", "yarn", "yarnpkg", "pnpm", "bun"))
_BIN = re.compile(r"(?:^|/)node_modules/\.bin/([\w.-]+)$")
_PROGRAM_FILE = re.compile(r"(?:^|/)node_modules/((?:@[\w.-]+/)?[\w.-]+)/.+$")
_YARN_OWN = word_set(
    "add audit autoclean bin cache config create dlx exec generate-lock-entry global help import info init install "
    "licenses link list login logout node outdated owner pack plugin policies publish remove run set tag team unlink "
    "unplug up upgrade version versions why workspace workspaces"
)
_PNPM_OWN = word_set(
    "add audit config deploy dlx env exec fetch i import info init install link list ls outdated pack patch prune "
    "publish rebuild remove root run setup start store test unlink update version why"
)
_OWN = {"yarn": _YARN_OWN, "yarnpkg": _YARN_OWN, "pnpm": _PNPM_OWN}
_FETCHING = {"npm": ("exec", "x"), **dict.fromkeys(("yarn", "pnpm", "bun"), ("exec", "dlx", "x"))}
_NPM_SHORT = {"t": "test", "tst": "test", "it": "test"}
_FOLDER_OPTIONS = ("--prefix", "-C", "--dir", "--cwd")
_VALUED_MANAGER_OPTIONS = word_set("--prefix -C --dir --cwd --loglevel --filter -F --registry --cache")


class Unclear(Exception):
    """A command cannot be followed; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A program that runs in the end. ``folder`` is absolute; ``script``: a script of package.json runs it.

    ``local``: it is looked for in node_modules first. ``fetched``: npx may fetch it. ``environment`` is set before it.
    """

    name: str
    arguments: tuple[str, ...]
    folder: str
    shown: str
    script: bool = False
    local: bool = False
    fetched: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    manager: str = ""


def words_of(command: Command) -> tuple[str, ...]:
    """The words of a command as they are given, or as they are written where they hold an expansion."""
    return tuple(word.text if word.text is not None else word.raw for word in command.argv)


def leaves(project: Project, command: Command, folder: str) -> tuple[Leaf, ...]:
    """What a command runs in the end. Raises Unclear."""
    given = tuple((item.name, item.value.text or "$") for item in command.environment)
    return tuple(_follow(project, words_of(command), folder, Leaf("", (), folder, "", environment=given), 0))


def _follow(project: Project, words: Sequence[str], folder: str, frame: Leaf, depth: int) -> Iterator[Leaf]:
    """The programs that a command line comes to; ``frame`` holds what is known of how it is run."""
    shown = " ".join(words)[:60]
    if not words:
        return
    if depth > 8:
        raise Unclear(f"`{shown}` leads too far")
    name, rest = _program(words[0], frame), tuple(words[1:])
    local = frame.script or frame.local or _in_node_modules(words[0]) is not None
    leaf = replace(frame, name=name, arguments=rest, folder=folder, shown=shown, local=local)
    if name in _MANAGERS:
        yield from _managed(project, name, rest, folder, frame, depth)
    elif name in ("npx", "bunx", "pnpx"):
        yield from _fetched(project, rest, folder, frame, depth)
    elif name == "corepack" and rest[:1] and rest[0] in _MANAGERS:
        yield from _managed(project, rest[0], rest[1:], folder, frame, depth)
    elif name == "node":
        yield from _by_node(project, leaf, frame, depth)
    elif (wrapped := _wrapped(name, rest)) is not None:
        setting, lines = wrapped
        yield replace(leaf, arguments=())
        inner = Leaf(
            "", (), folder, "", frame.script, frame.local, False, (*frame.environment, *setting), frame.manager
        )
        for line in lines:
            yield from _follow(project, line, folder, inner, depth + 1)
    elif name in ("concurrently", "npm-run-all", "run-s", "run-p", "run-script-os", "ntl"):
        yield replace(leaf, arguments=())
        yield from _several(project, name, rest, folder, frame, depth)
    elif name in SHELLS and len(rest) > 1 and re.fullmatch(r"-[a-z]*c", rest[0]):
        yield from _script(project, rest[1], folder, frame, depth)
    else:
        yield leaf


def _in_node_modules(word: str) -> re.Match[str] | None:
    """A program by its path in node_modules; the group is the program's, or the package's, name."""
    return _BIN.search(word) or _PROGRAM_FILE.search(word)


def _program(word: str, frame: Leaf) -> str:
    found = _in_node_modules(word)
    if found is not None:
        return found.group(1)
    if frame.fetched and re.fullmatch(r"@[\w.-]+/[\w.-]+", word):
        return program_of(word)  # `npx @remix-run/serve` is not the package `serve`
    return posixpath.basename(word)


def _by_node(project: Project, leaf: Leaf, frame: Leaf, depth: int) -> Iterator[Leaf]:
    """``node node_modules/…/program.js`` is the program, any other ``node …`` itself."""
    rest = leaf.arguments
    first = next((index for index, word in enumerate(rest) if not word.startswith("-")), None)
    inside = next((index for index, word in enumerate(rest) if _PROGRAM_FILE.search(word)), None)
    found = _in_node_modules(rest[first]) if first is not None and first == inside else None
    if first is None or found is None:
        yield leaf
    elif found.group(1).startswith("@"):
        yield replace(leaf, name=program_of(found.group(1)), arguments=rest[first + 1 :])
    else:
        words = (f"node_modules/.bin/{posixpath.basename(found.group(1))}", *rest[first + 1 :])
        yield from _follow(project, words, leaf.folder, frame, depth + 1)


def _managed(
    project: Project, manager: str, rest: tuple[str, ...], folder: str, frame: Leaf, depth: int
) -> Iterator[Leaf]:
    """``npm run x``, ``yarn x``, ``pnpm exec x``."""
    shown = f"{manager} {' '.join(rest)}".strip()[:60]
    words, folder = _behind_options(rest, folder, shown)
    first = words[0] if words else ""
    direct = "run" not in rest and "run-script" not in rest
    itself = Leaf(manager, words, folder, shown, frame.script, environment=frame.environment, manager=manager)
    if direct and first in _FETCHING.get(manager, ()):
        yield from _fetched(project, words[1:], folder, frame, depth)
        return
    if folder != project.folder:
        yield itself
        return
    name = _NPM_SHORT.get(first, first) if manager == "npm" else first
    if direct and not _names_script(manager, name):
        yield itself
        return
    given = tuple(word for word in words[1:] if word != "--") if manager == "npm" else words[1:]
    inner = Leaf("", (), folder, "", True, True, False, frame.environment, manager)
    if name in project.scripts:
        yield replace(inner, name=f"{manager} run", arguments=(name,), shown=shown)
        for part in (f"pre{name}", name, f"post{name}"):
            text = project.scripts.get(part)
            if text is not None:
                extra = given if part == name else ()
                yield from _script(project, " ".join((text, *map(_quoted, extra))), folder, inner, depth + 1)
    elif name == "start" and "server.js" in project.files:
        yield Leaf("node", ("server.js",), folder, shown, script=True, local=True, manager=manager)
    elif manager != "npm" and name:
        yield from _follow(project, (name, *given), folder, inner, depth + 1)
    else:
        raise Unclear(f"package.json has no script {name or '(none named)'}")


def _behind_options(rest: tuple[str, ...], folder: str, shown: str) -> tuple[tuple[str, ...], str]:
    """What a package manager is to do, without ``run`` and its options, and the folder in which. Raises Unclear."""
    words: list[str] = []
    index = 0
    while index < len(rest) and not words:
        word = rest[index]
        option, equals, value = word.partition("=")
        if word in ("-w", "--workspace", "--workspaces", "-r", "--recursive") or option in ("--filter", "-F"):
            raise Unclear(f"`{shown}` runs in other workspaces")
        if option in _FOLDER_OPTIONS:
            value = value if equals else (rest[index + 1] if index + 1 < len(rest) else "")
            folder = posixpath.normpath(posixpath.join(folder, value))
        if word in _VALUED_MANAGER_OPTIONS:
            index += 1
        elif not word.startswith("-"):
            words = list(rest[index:])
        index += 1
    while words[:1] in (["run"], ["run-script"]) or (words and words[0].startswith("-")):
        if words[0] in _FOLDER_OPTIONS and len(words) > 1:
            folder = posixpath.normpath(posixpath.join(folder, words[1]))
            words = words[2:]
            continue
        explicit = words[0] in ("run", "run-script")
        words = words[1:]
        if explicit and words and not words[0].startswith("-"):
            break
    if words and words[0] and "--prefix" in words[1:]:
        position = words.index("--prefix")
        folder = posixpath.normpath(posixpath.join(folder, (words[position + 1 :] or [""])[0]))
        words = [*words[:position], *words[position + 2 :]]
    return tuple(words), folder


def _names_script(manager: str, name: str) -> bool:
    """Whether a word behind a package manager is a script's (or a program's) name, not a command of its own."""
    if manager == "npm":
        return name in ("start", "test", "stop", "restart")
    return name in ("start", "test") or name not in _OWN.get(manager, frozenset(("install", "add")))


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w@%+=:,./$-]+", word) else "'" + word.replace("'", "'\"'\"'") + "'"


def _script(project: Project, text: str, folder: str, frame: Leaf, depth: int) -> Iterator[Leaf]:
    """The programs of a script of package.json."""
    script = parse_shell(text)
    if not script.complete:
        raise Unclear(f"the script `{text[:60]}` cannot be read to the end")
    for command in script.commands:
        words = words_of(command)
        given = tuple((item.name, item.value.text or "$") for item in command.environment)
        if any(
            item.target is not None
            and item.operator.startswith(">")
            and (item.target.text or "$") not in ("/dev/null", "1", "2")
            for item in command.redirects
        ):
            yield Leaf(
                ">",
                tuple(item.target.text or "$" for item in command.redirects if item.target),
                folder,
                text[:60],
                True,
            )
        if words[:1] == ("cd",):
            if len(words) != 2 or "$" in words[1]:
                raise Unclear(f"where `{text[:60]}` goes is not known")
            folder = posixpath.normpath(posixpath.join(folder, words[1]))
            continue
        inner = Leaf("", (), folder, "", frame.script, frame.local, False, (*frame.environment, *given), frame.manager)
        yield from _follow(project, words, folder, inner, depth + 1)


def _fetched(project: Project, rest: Sequence[str], folder: str, frame: Leaf, depth: int) -> Iterator[Leaf]:
    """``npx [options] program``."""
    words = list(rest)
    while words and words[0].startswith("-"):
        if words[0] in ("-p", "--package", "-c", "--call"):
            raise Unclear(f"`npx {' '.join(rest)[:50]}` is not followed")
        words = words[1:]
    if not words:
        raise Unclear("what npx runs is not known")
    name, _, version = words[0].rpartition("@") if "@" in words[0][1:] else (words[0], "", "")
    inner = Leaf("", (), folder, "", frame.script, not version, True, frame.environment, frame.manager)
    yield from _follow(project, (name, *words[1:]), folder, inner, depth + 1)


def _wrapped(name: str, rest: tuple[str, ...]) -> tuple[tuple[tuple[str, str], ...], list[tuple[str, ...]]] | None:
    """The settings and the command that a wrapper runs, None where the program is no wrapper."""
    if name in ("cross-env", "cross-env-shell"):
        index = next((at for at, word in enumerate(rest) if not re.match(r"[A-Za-z_]\w*=", word)), len(rest))
        setting = tuple((word.partition("=")[0], word.partition("=")[2]) for word in rest[:index])
        words = rest[index:]
        if len(words) == 1 and " " in words[0]:
            return setting, [words_of(item) for item in parse_shell(words[0]).commands]
        return setting, [words]
    if name in ("dumb-init", "tini", "exec", "time", "nice", "nohup", "catchsegv"):
        index = 0
        while index < len(rest) and rest[index].startswith("-"):
            index += 1
        return (), [rest[index:]]
    if name in ("dotenv", "dotenvx", "infisical", "doppler", "env-cmd"):
        if "--" in rest:
            return (), [rest[rest.index("--") + 1 :]]
        index = 0
        while index < len(rest) and rest[index].startswith("-"):
            index += 1 if "=" in rest[index] or rest[index] in ("--silent", "--no-override", "--use-shell") else 2
        return (), [rest[index:]]
    if name in ("su-exec", "gosu"):
        return (), [rest[1:]]
    return None


def _several(
    project: Project, name: str, rest: tuple[str, ...], folder: str, frame: Leaf, depth: int
) -> Iterator[Leaf]:
    """``concurrently "a" "b"``, ``run-s a b``."""
    for word in rest:
        if word.startswith("-"):
            continue
        if name == "concurrently":
            match = re.fullmatch(r"(npm|yarn|pnpm):([\w:.-]+)", word)
            yield from _script(
                project, f"{match.group(1)} run {match.group(2)}" if match else word, folder, frame, depth
            )
        elif "*" in word:
            pattern = re.escape(word).replace(r"\*\*", ".*").replace(r"\*", "[^:]*")
            for script in project.scripts:
                if re.fullmatch(pattern, script):
                    yield from _managed(project, "npm", ("run", script), folder, frame, depth + 1)
        else:
            yield from _managed(project, "npm", ("run", *word.split()), folder, frame, depth + 1)
