"""What a Rust program may read and start, as far as its sources tell."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.splits.shipped import Landed, text_of
from buildopt.dockerfile.splits.splits import Subject
from buildopt.dockerfile.splits.stand_alone import literal_calls, program_problem

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|(?P<kept>b?r#*\"|\"(?:\\.|[^\"\\])*\")", re.DOTALL)
_STRING = re.compile(r'"((?:\\.|[^"\\\n])*)"')
_FILES = re.compile(
    r"\bfs\b|\bFile\b|\bPath(?:Buf)?\b|OpenOptions|ServeDir|ServeFile|NamedFile|FileServer|Files::new|Template|Tera"
    r"|Handlebars|dotenv|[Cc]onfig|Figment|rocket|from_path|from_file|load_from|Migrator|migrations|env::args|clap|image::open"
)
_STARTS = re.compile(r"\bprocess::(?:\{[^}]*\b)?Command\b|\bprocess::\*|\bprocess(?:::\{[^}]*\bself)?\s+as\b|\bexecv")
_INCLUDED = re.compile(r'include\w*!\s*[({]\s*concat!\s*\(\s*env!\s*\(\s*"OUT_DIR"')
_NEW = re.compile(r"\bCommand::new\s*\(\s*")
_OF_THE_BASE = re.compile(r"CARGO_HOME|RUSTUP_HOME|RUST_VERSION|^/usr/local/(?:cargo|rustup)|^/usr/(?:lib|include)/")


@dataclass(frozen=True, slots=True)
class Sources:
    """``reads``: files may be read; ``names`` are what strings may stand for. ``problem`` says what is not known."""

    reads: bool = False
    settings: bool = False
    names: frozenset[str] = frozenset()
    programs: frozenset[str] = frozenset()
    problem: str = ""


def read_sources(subject: Subject, files: Sequence[Landed]) -> Sources:
    """Read all sources that the build stage gets, those of tests left out."""
    reads = settings = False
    names: set[str] = set()
    programs: set[str] = set()
    for item in files:
        if not item.name.endswith(".rs") or _is_aside(item):
            continue
        text = text_of(subject, item)
        if text is None:
            return Sources(problem=f"{item.origin} cannot be read")
        plain = _COMMENT.sub(lambda match: match.group() if match.group("kept") else " ", text)
        strings = _STRING.findall(plain)
        problem = _problem(item, plain, strings, programs)
        if problem:
            return Sources(problem=problem)
        reads = reads or _FILES.search(plain) is not None
        settings = settings or "dotenv" in plain
        names.update(path for path in map(_path_like, strings) if path)
    return Sources(reads, settings, frozenset(names), frozenset(programs))


def _is_aside(item: Landed) -> bool:
    folders = item.origin.split("/")[:-1]
    return not {"tests", "benches", "examples", "target", "fuzz"}.isdisjoint(folders) or item.name == "build.rs"


def _problem(item: Landed, plain: str, strings: Iterable[str], programs: set[str]) -> str:
    for text in strings:
        if _OF_THE_BASE.search(text):
            return f"{item.origin} names {text[:60]}, which may be something of the rust image"
    if len(re.findall(r'"OUT_DIR"', plain)) > len(_INCLUDED.findall(plain)):
        return f"{item.origin} names OUT_DIR, where the build may have left what it reads"
    if not _STARTS.search(plain):
        return ""
    calls = literal_calls(plain, _NEW)
    if calls is None or not calls:
        return f"{item.origin} may start programs of the rust image"
    for words in calls:
        problem = program_problem(words)
        if problem:
            return f"{item.origin} {problem}"
        programs.add(words[0])
    return ""


def _path_like(text: str) -> str:
    text = posixpath.normpath(re.split(r"/?[^/]*[*?{]", text)[0]) if text and len(text) < 200 else ""
    return text.removeprefix("../").lstrip("/") if text not in (".", "..") else ""
