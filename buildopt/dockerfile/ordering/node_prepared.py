"""What frameworks of Node.js prepare at an install, for editors and type checks, and make anew when they build.

Without the sources such a preparation succeeds and prepares little: ``nuxt prepare`` takes its defaults,
``svelte-kit sync`` says that it is missing its configuration. It may come before the sources where the next thing that
runs is the build, which begins with the same preparation (Nuxt empties ``.nuxt`` first).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.shell import Command, parse_shell

_NUXT = (("build",), ("generate",))
# What is prepared by which command, and the commands that begin with the same.
_PREPARED: Mapping[tuple[str, str], Mapping[str, tuple[tuple[str, ...], ...]]] = {
    ("nuxt", "prepare"): {"nuxt": _NUXT, "nuxi": _NUXT},
    ("nuxi", "prepare"): {"nuxt": _NUXT, "nuxi": _NUXT},
    ("svelte-kit", "sync"): {"vite": (("build",),)},
}
_PACKAGES = {"nuxt": "nuxt", "nuxi": "nuxt", "svelte-kit": "@sveltejs/kit"}
_SILENT = word_set("echo printf pwd true : date ls")
_RUNNERS = word_set("npx bunx pnpx")
_MANAGERS = word_set("npm yarn pnpm bun")


def prepares(name: str, texts: Sequence[str], package: Mapping[str, object]) -> bool:
    """Whether a command is such a preparation, of a release that needs no sources for it."""
    if len(texts) != 1 or (name, texts[0]) not in _PREPARED:
        return False
    sections = (package.get(section) for section in ("dependencies", "devDependencies"))
    wanted = [
        section[_PACKAGES[name]] for section in sections if isinstance(section, dict) and _PACKAGES[name] in section
    ]
    first = "[1-9]" if name == "svelte-kit" else "[3-9]"
    return any(re.fullmatch(rf"latest|[\^~>=v\s]*{first}(?:\.[\w.]+)?", str(version)) for version in wanted)


def made_anew(name: str, texts: Sequence[str], package: Mapping[str, object], following: Sequence[Command]) -> bool:
    """Whether the first thing that runs behind the install is the build that makes it anew."""
    builds = _PREPARED[name, texts[0]]
    command = next((item for item in following if item.name not in _SILENT), None)
    if command is None or command.context:
        return False
    command = _script(command, package)
    if command is None:
        return False
    program, words = _program(command)
    return any(words[: len(start)] == start for start in builds.get(program, ()))


def _program(command: Command) -> tuple[str, tuple[str, ...]]:
    """The program that is run, through npx, ``pnpm exec`` and cross-env, and its words."""
    name, words = command.name or "", command.texts
    if name in _RUNNERS:
        name, words = words[0] if words else "", words[1:]
    elif name in _MANAGERS and words[:1] in (("exec",), ("x",)):
        name, words = words[1] if len(words) > 1 else "", words[2:]
    if name in ("cross-env", "cross-env-shell"):
        words = tuple(word for word in words if not re.match(r"\w+=", word))
        name, words = words[0] if words else "", words[1:]
    return name, words


def _script(command: Command, package: Mapping[str, object]) -> Command | None:
    """The first command of the script that is run; the command itself where it runs none, None where it is unclear."""
    name, words = command.name, command.texts
    if name not in _MANAGERS or words[:1] in (("exec",), ("x",)):
        return command
    if words[:1] == ("run",):
        words = words[1:]
    elif name in ("npm", "bun"):
        return None
    scripts = package.get("scripts")
    known = scripts if isinstance(scripts, dict) else {}
    text = known.get(words[0]) if words else None
    if not isinstance(text, str) or f"pre{words[0]}" in known:
        return None
    script = parse_shell(text)
    return script.commands[0] if script.complete and script.commands else None
