"""What JavaScript and TypeScript sources import, and which texts they hold."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.node_project import Compiler, Project

SUFFIXES = (".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs", ".vue", ".svelte", ".astro", ".coffee")
BUILTINS = word_set(
    "assert async_hooks buffer child_process cluster console constants crypto dgram diagnostics_channel dns domain "
    "events fs http http2 https inspector module net os path perf_hooks process punycode querystring readline repl "
    "stream string_decoder sys timers tls trace_events tty url util v8 vm wasi worker_threads zlib test sqlite"
)
_COMMENT = re.compile(r"^[ \t]*(?://[^\n]*|(?P<block>/\*))", re.MULTILINE)
_REST_OF_LINE = re.compile(r"[ \t]*$", re.MULTILINE)
_IMPORT = re.compile(r"\b(?:import|export)\b(?P<type>\s+type\b(?!\s*,|\s+from\b))?")
_FROM = re.compile(r"\bfrom\s*(['\"])(?P<name>[^'\"\n]+)\1")
_NO_NAMES = "'\"`;()="  # none of them stands between `import` and `from`
_BARE = re.compile(r"\bimport\s*(['\"])([^'\"\n]+)\1")
_CALL = re.compile(
    r"\b(?:require|require\.resolve|import|jest\.mock)\s*\(\s*(?:/\*[^*]*\*/\s*)?(['\"`])([^'\"`$\n]+)\1\s*[,)]"
)
_DYNAMIC = re.compile(
    r"(?<![.\w])(?:require|require\.resolve|import)\s*\(\s*(?:/\*[^*]*\*/\s*)?(?:[A-Za-z_$([{]|['\"][^'\"\n]*['\"]\s*\+|`[^`]*\$\{)"
)
_LOADERS = re.compile(
    r"\b(?:readdirSync|readdir|opendir|globSync|createRequire|importx|require-all|requireAll|autoload|AutoLoad|loadFiles"
    r"|import\.meta\.glob)\b|['\"](?:glob|globby|fast-glob|tiny-glob)['\"]"
)


@dataclass(frozen=True, slots=True)
class Code:
    """One source. ``imports`` are what it loads (types left out), ``text`` what is left of it without them.

    ``dynamic``: it also loads what is only known at run time. ``raw`` is all of it but lines of comments.
    """

    imports: frozenset[str]
    text: str
    dynamic: bool
    raw: str = ""


def read_code(text: str) -> Code:
    """Take a source apart. Comments that share a line with code count as code."""
    raw = text = _without_comment_lines(text)
    imports: set[str] = set()
    left: list[str] = []
    done = 0
    for start, end, name in _statements(text):
        left.append(text[done:start])
        done = end
        if name is not None:
            imports.add(name)
    imports.update(match.group(2) for match in (*_BARE.finditer(text), *_CALL.finditer(text)))
    dynamic = bool(_DYNAMIC.search(text) or _LOADERS.search(text))
    text = " ".join((*left, text[done:]))
    for expression in (_BARE, _CALL):
        text = expression.sub(" ", text)
    return Code(frozenset(imports), text, dynamic, raw)


def _without_comment_lines(text: str) -> str:
    """The text without comments that have their lines for themselves."""
    left: list[str] = []
    done = place = 0
    endless = False
    while (match := _COMMENT.search(text, place)) is not None:
        place = match.end()
        if match["block"]:
            end = -1 if endless else text.find("*/", place)
            if end < 0:
                endless = True
                continue
            place = end + 2
            rest = _REST_OF_LINE.match(text, place)
            if rest is None:
                continue
            place = rest.end()
        left.append(text[done : match.start()])
        done = place
    return " ".join((*left, text[done:]))


def _statements(text: str) -> Iterator[tuple[int, int, str | None]]:
    """Where ``import … from`` and ``export … from`` begin and end, and what they load; None where it is types only."""
    begin = place = 0
    while (origin := _FROM.search(text, place)) is not None:
        begin = max(begin, *(text.rfind(mark, begin, origin.start()) + 1 for mark in _NO_NAMES))
        start = _IMPORT.search(text, begin, origin.end())
        if start is None or start.end() > origin.start():
            begin = origin.start(1)
            place = origin.start() + len("from")
            continue
        types = start["type"] or _only_types(text[start.end() : origin.start()])
        yield start.start(), origin.end(), None if types else origin["name"]
        begin = place = origin.end()


def _only_types(names: str) -> bool:
    """``{ type A, type B }``."""
    inside = re.fullmatch(r"\s*\{(.*)\}\s*", names, re.DOTALL)
    parts = [part.strip() for part in inside.group(1).split(",") if part.strip()] if inside else []
    return bool(parts) and all(part.startswith("type ") for part in parts)


def package_name(specifier: str) -> str:
    """The package that a specifier is of: ``@a/b/c`` is of ``@a/b``."""
    parts = specifier.split("/")
    return "/".join(parts[:2]) if specifier.startswith("@") else parts[0]


def is_builtin(specifier: str) -> bool:
    """Whether Node.js itself has the module."""
    return specifier.startswith("node:") or specifier.split("/")[0] in BUILTINS


def is_internal(specifier: str, project: Project, options: Compiler) -> bool:
    """Whether it means a file of the project, or something that a bundler makes up."""
    if specifier.startswith((".", "/", "#", "~", "@/", "$", "virtual:", "astro:", "bun:", "http:", "https:", "data:")):
        return True
    if any(specifier == alias.rstrip("/") or (alias and specifier.startswith(alias)) for alias in options.aliases):
        return True
    if package_name(specifier) == project.name:
        return True
    bases = {options.base, ".", "src"} - {None}
    return any(
        project.has(posixpath.join(str(base), specifier.split("/")[0]))
        or any(posixpath.join(str(base), specifier) + suffix in project.files for suffix in SUFFIXES)
        for base in bases
    )


def resolve(specifier: str, importer: str, project: Project, options: Compiler) -> str | None:
    """The file of the project that a specifier means, None where that cannot be told."""
    if specifier.startswith("."):
        return _file(posixpath.normpath(posixpath.join(posixpath.dirname(importer), specifier)), project)
    places = [options.base] if options.base else []
    for prefix in ("@/", "~/", "~~/", "#/"):
        if specifier.startswith(prefix):
            places += ["src", "."]
            specifier = specifier[len(prefix) :]
            break
    for place in (*places, "src"):
        found = _file(posixpath.normpath(posixpath.join(place, specifier)), project)
        if found is not None:
            return found
    return None


def _file(path: str, project: Project) -> str | None:
    stem, suffix = posixpath.splitext(path)
    stems = [path, stem] if suffix in (".js", ".jsx", ".mjs", ".cjs") else [path]
    for candidate in stems:
        if candidate in project.files:
            return candidate
        for ending in (*SUFFIXES, ".json", ".d.ts"):
            if candidate + ending in project.files:
                return candidate + ending
    for ending in (*SUFFIXES, ".json"):
        if posixpath.join(path, f"index{ending}") in project.files:
            return posixpath.normpath(posixpath.join(path, f"index{ending}"))
    return None


def reachable(
    starts: Iterable[str], sources: Mapping[str, Code], project: Project, options: Compiler, *, strict: bool = True
) -> set[str] | None:
    """The sources that those import, directly or not.

    Where some of them load what cannot be told: None if ``strict``, else that is left out.
    """
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        code = sources.get(path)
        if code is None:
            continue
        if code.dynamic and strict:
            return None
        for specifier in code.imports:
            target = resolve(specifier, path, project, options)
            if target is not None:
                waiting.append(target)
            elif not strict:
                continue
            elif (specifier.startswith(".") and not _is_asset(specifier)) or (
                not specifier.startswith(".") and _is_alias(specifier, project, options)
            ):
                return None
    return found


def _is_asset(specifier: str) -> bool:
    return posixpath.splitext(specifier.split("?")[0])[1] not in ("", *SUFFIXES)


def _is_alias(specifier: str, project: Project, options: Compiler) -> bool:
    known = package_name(specifier) in project.dependencies | project.development | project.peers
    return not known and not is_builtin(specifier) and is_internal(specifier, project, options)
