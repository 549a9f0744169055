"""What the scripts of a package.json that run around an install read of the project."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.ordering.copied_files import Unknown
from buildopt.dockerfile.ordering.needs import Question
from buildopt.dockerfile.ordering.node_prepared import made_anew, prepares
from buildopt.dockerfile.shell import Command, parse_shell

# They look at the environment, at installed packages or at nothing.
_NOTHING = word_set(
    ": echo printf true false exit is-ci is-ci-cli only-allow opencollective opencollective-postinstall ts-patch "
    "npm-run-postinstall check-node-version use-pnpm"
)
# They put hooks into .git, and do nothing where there is none.
_HOOKS = word_set("husky lefthook simple-git-hooks yorkie git-hooks")
_RUNNERS = word_set("npx bunx pnpx")


def script_files(
    question: Question, folder: str, package: Mapping[str, object], text: str, *, git: bool, depth: int
) -> Iterator[str]:
    """The files that a script reads. Raises Unknown with what follows ``the script … of package.json``."""
    script = parse_shell(text)
    if not script.complete or depth > 4 or any(command.redirects for command in script.commands if _writes(command)):
        raise Unknown(f"cannot be read to the end: `{text[:60]}`")
    for command in script.commands:
        if command.words:
            yield from _command_files(question, folder, package, command, git=git, depth=depth)


def _writes(command: Command) -> bool:
    return any(
        item.target is not None and item.target.text not in ("/dev/null", "1", "2") for item in command.redirects
    )


def _command_files(
    question: Question, folder: str, package: Mapping[str, object], command: Command, *, git: bool, depth: int
) -> Iterator[str]:
    name, texts = command.name or "", command.texts
    while (name in _RUNNERS or (name in ("pnpm", "yarn", "npm") and texts[:1] in (("exec",), ("dlx",)))) and texts:
        rest = [item for item in (texts if name in _RUNNERS else texts[1:]) if not item.startswith("-")]
        name, texts = (rest[0], tuple(rest[1:])) if rest else ("", ())
    if name in ("cross-env", "cross-env-shell", "env"):
        rest = [item for item in texts if "=" not in item]
        name, texts = (rest[0], tuple(rest[1:])) if rest else ("", ())
    shown = " ".join(word.raw for word in command.words)[:60]
    if len(command.texts) != len(command.arguments) and name not in ("[", "test", "echo", "exit"):
        raise Unknown(f"cannot be read to the end: `{shown}`")
    if name in _NOTHING:
        return
    if name in ("[", "test", "[["):
        if any(re.fullmatch(r"-[a-hkprstuwxLNOGS]", text) for text in texts):
            raise Unknown(f"looks at files: `{shown}`")
    elif name in _HOOKS:
        if git:
            raise Unknown("puts hooks into .git, which the context holds: ignore .git")
    elif name == "patch-package":
        yield from _patches(question, folder, texts)
    elif name == "prisma" and texts[:1] == ("generate",):
        yield from _prisma(question, folder, package, texts)
    elif name == "remix" and texts[:1] == ("setup",):
        return  # it writes into its own package, of which platform the command says
    elif folder == question.folder and prepares(name, texts, package):
        if not made_anew(name, texts, package, question.following):
            raise Unknown(f"runs `{shown}`, and what comes next is not the build that makes the same anew")
    elif name in ("npm", "yarn", "pnpm", "bun") and texts:
        yield from _own_script(question, folder, package, name, texts, shown, git=git, depth=depth)
    else:
        raise Unknown(f"runs `{shown}`, which may need the sources")


def _own_script(
    question: Question,
    folder: str,
    package: Mapping[str, object],
    name: str,
    texts: tuple[str, ...],
    shown: str,
    *,
    git: bool,
    depth: int,
) -> Iterator[str]:
    """``npm run x``, ``yarn x``."""
    words = [text for text in texts if not text.startswith("-")]
    if words[:1] in (["run"], ["run-script"]):
        words = words[1:]
    elif name == "npm":
        words = []
    scripts = package.get("scripts")
    known = scripts if isinstance(scripts, dict) else {}
    if len(words) != 1 or not isinstance(known.get(words[0]), str):
        raise Unknown(f"runs `{shown}`, which may need the sources")
    for part in (f"pre{words[0]}", words[0], f"post{words[0]}"):
        if isinstance(known.get(part), str):
            yield from script_files(question, folder, package, str(known[part]), git=git, depth=depth + 1)


def _patches(question: Question, folder: str, texts: tuple[str, ...]) -> Iterator[str]:
    named = [following for text, following in pairwise(texts) if text == "--patch-dir"]
    place = posixpath.normpath(posixpath.join(folder, named[0] if named else "patches"))
    if question.tree.names(place):
        yield place


def _prisma(question: Question, folder: str, package: Mapping[str, object], texts: tuple[str, ...]) -> Iterator[str]:
    """The schema, and where the client goes: below node_modules unless the schema says otherwise."""
    own = package.get("prisma")
    named = own.get("schema") if isinstance(own, dict) else None
    for text, following in zip(texts, (*texts[1:], ""), strict=True):
        if text.startswith("--schema"):
            named = text.partition("=")[2] or following
    if [name for name in question.tree.names(folder) if name.startswith("prisma.config")]:
        raise Unknown("generates a client as prisma.config says, which is a program")
    places = [str(named)] if named else ["prisma/schema.prisma", "schema.prisma"]
    place = next(
        (found for found in (posixpath.join(folder, name) for name in places) if question.tree.kind(found)), ""
    )
    place = posixpath.normpath(place) if place else ""
    if not place:
        if not named and not any(path.endswith(".prisma") for path in question.tree.walk(folder)):
            return
        raise Unknown("generates a client from a schema that is not in the context")
    schema = question.tree.text(place) if question.tree.is_file(place) else None
    if schema is None:
        raise Unknown("generates a client from a schema of several files")
    if any("node_modules" not in line for line in re.findall(r"^\s*output\s*=.*", schema, re.MULTILINE)):
        raise Unknown("generates a client into the project")
    if set(re.findall(r"^\s*provider\s*=\s*\"([^\"]+)\"", _generators(schema), re.MULTILINE)) - {"prisma-client-js"}:
        raise Unknown("runs a generator of its own")
    yield place
    # The client is told where these are.
    for name in (".env", "prisma/.env"):
        if question.tree.is_file(posixpath.join(folder, name)):
            yield posixpath.join(folder, name)


def _generators(text: str) -> str:
    return "\n".join(re.findall(r"^generator\b[^{]*\{[^}]*\}", text, re.MULTILINE))
