"""A `java` command line: what it runs, and which files it names."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.started import Step, literal

_CLASS_PATH = frozenset(("-cp", "-classpath", "--class-path"))
_VALUED = word_set(
    "-p --module-path --add-opens --add-exports --add-reads --add-modules --limit-modules --patch-module"
)
_OPTIONS = re.compile(
    r"^[\"']?\$\{?[A-Za-z_]*(?:OPT|ARG|FLAG|PARAM|JVM|MEM|XM|DEBUG|AGENT)[A-Za-z_]*\}?[\"']?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Java:
    """One `java` command. Paths are absolute, and may hold globs where a shell runs it.

    ``jar``: what ``-jar`` names; ``path``: the entries of the class path; ``files``: agents and the like;
    ``problem``: what is not understood; ``tools``: an option that only a JDK may know.
    """

    jar: str = ""
    path: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    tools: str = ""
    problem: str = ""


def java(step: Step, environment: Mapping[str, str | None]) -> Java:
    """Read the command of a step, whose name is ``java``."""
    path: list[str] = []
    files: list[str] = []
    tools = ""

    def absolute(text: str) -> str:
        return posixpath.normpath(posixpath.join(step.folder, text))

    words = list(step.command.arguments)
    while words:
        word = words.pop(0)
        text = literal(word, environment) if step.by_shell else word.text
        if text is None:
            if _OPTIONS.match(word.raw):
                continue  # options from the environment of the container
            return Java(problem=f"what {word.raw} names is not known")
        if not text:
            continue
        if text.startswith("@"):
            return Java(problem=f"{text} is not followed")
        if text == "-jar" or not text.startswith("-"):
            target = words.pop(0) if text == "-jar" and words else word
            name = literal(target, environment) if step.by_shell else target.text
            if not name or name == "-jar":
                return Java(problem=f"what {target.raw} names is not known")
            if re.search(r"[*?\[]", name) and not (step.by_shell and target.glob):
                return Java(problem=f"no shell is there to expand {name}")
            if text == "-jar":
                return Java(absolute(name), tuple(path), tuple(files), tools)
            if name.endswith(".java"):
                return Java(problem=f"`java {name}` compiles when it starts")
            places = path or (environment.get("CLASSPATH") or ".").split(":")
            return Java("", tuple(absolute(place or ".") for place in places), tuple(files), tools)
        if text in _CLASS_PATH:
            value = words.pop(0) if words else None
            joined = literal(value, environment) if value is not None else None
            if joined is None:
                return Java(problem="the class path is not known")
            path = [absolute(part or ".") for part in joined.split(":")]
        elif text in _VALUED or text.partition("=")[0] in _VALUED:
            value_text = (words.pop(0).raw if words else "") if text in _VALUED else text.partition("=")[2]
            if text.startswith(("-p", "--module-path", "--patch-module")):
                return Java(problem="a module path is not followed")
            if text.startswith(("--add-modules", "--limit-modules")) or "jdk." in value_text:
                tools = f"{text} {value_text}".strip()
        elif text.startswith("-javaagent:"):
            files.append(absolute(text.removeprefix("-javaagent:").partition("=")[0]))
        elif text.startswith(("-agentpath", "-Xbootclasspath", "--module")) or text == "-m":
            return Java(problem=f"{text} is not followed")
        elif text.startswith(("-agentlib", "--source")):
            tools = text
    return Java(problem="it names no program")
