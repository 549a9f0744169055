"""Where bundlers of Node.js projects put what they build, as far as their configuration says so for certain."""

from __future__ import annotations

import posixpath
import re

from buildopt.dockerfile.splits.node_commands import Leaf
from buildopt.dockerfile.splits.node_project import Project

BUNDLERS = frozenset(("vite", "vue-cli-service", "parcel", "ng", "webpack", "webpack-cli", "rollup", "rspack"))
_COMMENT = re.compile(r"^[ \t]*//[^\n]*|/\*.*?\*/", re.MULTILINE | re.DOTALL)
_PLACE = (
    r"\b{key}\s*:\s*(?:path\.)?(?:(?:resolve|join)\()?\s*(?:(?:__dirname|process\.cwd\(\))\s*,\s*)?"
    r"['\"`](?P<path>[^'\"`$\n]+)['\"`]\s*\)?\s*(?=[,}}\n]|$)"
)
_FRAMEWORKS = re.compile(
    r"@remix-run/dev|@react-router/dev|solid-start|@tanstack/\S*start|\bqwik|\bnitro\b|\bvinxi\b|\bvike\b"
)
_IDLE = {"ng": ("version", "lint", "test", "config", "analytics"), "vue-cli-service": ("lint", "test:unit", "inspect")}


def bundled(project: Project, leaf: Leaf, explicit: str) -> list[str] | None:
    """The outputs of one of `BUNDLERS`, relative to the project; None where they are not certain.

    ``explicit`` is what an option names.
    """
    name = leaf.name
    first = next((word for word in leaf.arguments if not word.startswith("-")), "")
    if first in _IDLE.get(name, ()):
        return []
    if name == "vite":
        return _vite(project, leaf, explicit) if first == "build" else None
    if name == "vue-cli-service":
        found = [explicit] if explicit else configured(project, "vue", ("outputDir",))
        return None if found is None or first != "build" else found or ["dist"]
    if name == "ng":
        return _angular(project, explicit) if first in ("build", "b") else None
    if name == "parcel":
        return [explicit or "dist"] if first == "build" else None
    return [explicit] if explicit else _output(project, leaf)


def _config(project: Project, name: str, leaf: Leaf | None = None) -> str:
    """The text of a tool's configuration, comments left out."""
    words = leaf.arguments if leaf is not None else ()
    named = [words[index + 1] for index, word in enumerate(words[:-1]) if word in ("-c", "--config")]
    named += [word.partition("=")[2] for word in words if word.startswith("--config=")]
    if named and not named[0].startswith("-"):
        return _COMMENT.sub(" ", project.text(named[0]))
    own = [
        path for path in project.files if re.fullmatch(rf"{name}\.config\.\w+|\.{name}rc(?:\.\w+)?|{name}\.json", path)
    ]
    return _COMMENT.sub(" ", "\n".join(project.text(path) for path in sorted(own)))


def configured(project: Project, name: str, keys: tuple[str, ...], leaf: Leaf | None = None) -> list[str] | None:
    """What a tool's configuration says about its output: nothing, or one folder; None where it is not plain."""
    text = _config(project, name, leaf)
    found: set[str] = set()
    for key in keys:
        places = [match.group("path") for match in re.finditer(_PLACE.format(key=key), text)]
        if len(places) != len(re.findall(rf"\b{key}\b", text)):
            return None
        found.update(map(posixpath.normpath, places))
    return sorted(found) if len(found) < 2 else None


def _vite(project: Project, leaf: Leaf, explicit: str) -> list[str] | None:
    text = _config(project, "vite", leaf)
    words = [word for word in leaf.arguments if not word.startswith("-")]
    if _FRAMEWORKS.search(text):
        return ["build"] if re.search(r"@remix-run/dev|@react-router/dev", text) else None
    if "sveltekit" in text:
        adapter = _config(project, "svelte")
        places = re.findall(r"\b(?:out|pages)\s*:\s*['\"]([^'\"]+)['\"]", adapter)
        if re.search(r"adapter-(?:node|static)", adapter):
            return [".svelte-kit", *(places or ["build"])]
        return [".svelte-kit"]
    if len(words) > 1 or re.search(r"\broot\b\s*[:,]", text) or "lib:" in text:
        return None
    found = [explicit] if explicit else configured(project, "vite", ("outDir",), leaf)
    return None if found is None else found or ["dist"]


def _angular(project: Project, explicit: str) -> list[str]:
    """The folder at the top: below it, each version of Angular has a layout of its own."""
    text = project.text("angular.json") or project.text(".angular-cli.json")
    found = re.findall(r'"(?:outputPath|outDir)"\s*:\s*(?:\{\s*"base"\s*:\s*)?"([^"]+)"', text)
    return sorted({posixpath.normpath(path).split("/")[0] for path in ([explicit] if explicit else found)}) or ["dist"]


def _output(project: Project, leaf: Leaf) -> list[str] | None:
    """The ``output: {…}`` of webpack's or rollup's configuration."""
    text = _config(project, leaf.name.removesuffix("-cli"), leaf)
    found: set[str] = set()
    for block in re.findall(r"\boutput\s*:\s*\[?\s*\{(.*?)\}", text, re.DOTALL):
        for key in ("path", "dir", "file"):
            places = [match.group("path") for match in re.finditer(_PLACE.format(key=key), block)]
            found.update(posixpath.dirname(place) or "." if key == "file" else place for place in places)
    found = {posixpath.normpath(place) for place in found}
    unclear = re.search(r"\bmerge\b|\brequire\(['\"]\./|from ['\"]\./", text) or len(
        re.findall(r"\boutput\b", text)
    ) != len(re.findall(r"\boutput\s*:\s*\[?\s*\{", text))
    return None if not found or unclear or any(place.startswith(("/", "..")) for place in found) else sorted(found)
