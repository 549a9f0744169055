"""Splitting a Java file: the jar that CMD names is shipped on the JRE of the same release, vendor and distribution.

Where no such image is known, or the program may need the JDK or programs of its image, the same image is the runtime:
sources, Maven's repository and Gradle's caches stay behind all the same.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.splits import java_needs, java_project
from buildopt.dockerfile.splits.brought import Brought, brought, origin_of, plain
from buildopt.dockerfile.splits.build_steps import Steps, data_lines, is_removed, owner_of, repeated, steps
from buildopt.dockerfile.splits.java_program import agents, is_build, program, whole_output
from buildopt.dockerfile.splits.java_runtime import runtime_image
from buildopt.dockerfile.splits.repeats import trimmed
from buildopt.dockerfile.splits.splits import No, Split, Subject, copy_line, uncovered
from buildopt.dockerfile.splits.started import checked, started

_IMAGES = re.compile(
    r"^(?:maven|gradle|openjdk|java|eclipse-temurin|adoptopenjdk|amazoncorretto|ibm-semeru-runtimes|ibmjava|sapmachine)$"
    r"|jdk|corretto|zulu|liberica|graalvm|semeru|sbt|temurin|dragonwell|/maven|/gradle|clojure"
)
# Images that start in /, and gradle's, whose folder is known.
_AT_ROOT = re.compile(
    r"^(?:maven|gradle|openjdk|java|eclipse-temurin|adoptopenjdk|amazoncorretto|ibm-semeru-runtimes|sapmachine"
    r"|azul/zulu-openjdk.*|adoptopenjdk/.*|bellsoft/liberica.*)$"
)
_BUILD_PACKAGES = word_set(
    "ant bash binutils build-base build-essential ca-certificates coreutils curl dos2unix file findutils g++ gcc git "
    "gnupg gradle gzip make maven nodejs npm openssh-client openssh procps python3 sed tar unzip util-linux wget which "
    "xz-utils yarn zip apt-utils apt-transport-https software-properties-common xargs ncurses"
)


def concerns(subject: Subject) -> bool:
    """Whether a RUN builds Java."""
    return any(is_build(command) for run in subject.runs for command in run.commands)


def plan(subject: Subject) -> Split:
    """Ship what CMD starts. Raises No."""
    if subject.context is None:
        raise No(subject.origin, "only the sources tell what the program needs at run time: give --context")
    if not _IMAGES.search(subject.final.base.repository):
        raise No(subject.origin, "a RUN installs Java here: which of its packages the runtime needs is not known")
    context = subject.context
    _placed(subject)
    done = steps(subject, is_build)
    if not any(item.builds for item in done):
        raise No(subject.head[-1], "no RUN builds a Java program here")
    for item in subject.head:
        if item.keyword == "USER":
            raise No(item, "the user changes before the program is built")
    entries = brought(subject, subject.head)
    later = brought(subject, subject.tail)
    reader = _Reader(subject, (*entries, *later))
    start, check = started(subject, reader.text), checked(subject, reader.text)
    shippable = program(subject, done, entries, later, start)
    known = java_needs.sources(context)
    if known.problem:
        raise No(subject.origin, known.problem)
    said = " ".join((start.text, check.text, *(value or "" for value in subject.final.environment.values())))
    data = java_needs.data(entries, known, said, context, subject.source.path)
    scripts = {*start.scripts, *check.scripts}
    data += _scripts(entries, scripts, data)
    data = [entry for entry in data if not is_removed(done, entry.path)]
    agents(subject, start, [*data, *later], shippable)
    paths = whole_output(shippable, known.strings)
    shipped = (*paths, *(entry.path for entry in data))
    uncovered(subject, shipped)
    plain(context, data)
    named = {step.name for step in (*start.steps, *check.steps)} | ({"bash"} if reader.bash else set())

    def is_needed(package: str) -> bool:
        return bool(known.programs) or package in named or package not in _BUILD_PACKAGES

    again = repeated(subject, done, shipped, is_needed)
    image, why = runtime_image(subject, known, start, check, again, data, done)
    if image == subject.written_base and not _leaves_much(done):
        raise No(
            subject.origin, "no image without the compiler is known to be the same: only sources would stay behind"
        )
    for entry in entries:
        if entry.owner and any(relation(entry.path, path) is Relation.INSIDE for path in paths):
            raise No(entry.instruction, f"{entry.path} has another owner than what is shipped with it")
    copies = _copies(subject, done, paths, data, shippable.made_at)
    what = posixpath.basename(paths[0]) if len(paths) == 1 else "the program"
    kept = f"{what} and what it may read are shipped" if data else f"{what} alone is shipped"
    return Split(
        image,
        tuple(copies),
        f"a build stage, and a runtime stage on {image.rpartition('/')[2]}",
        f"{kept}; the build's sources, tools and caches stay behind{why}",
        replayed=again.offsets,
        texts=trimmed(subject, again.offsets, is_needed),
        workdir=_old_folder(subject, image),
    )


def _leaves_much(done: Sequence[Steps]) -> bool:
    """Whether a build tool fetches what need not be shipped: the compiler alone fetches nothing."""
    return any(command.name not in ("javac", "jar", "kotlinc") for item in done for command, _ in item.builds)


def _scripts(entries: Sequence[Brought], paths: Iterable[str], data: Sequence[Brought]) -> list[Brought]:
    """The scripts that are started and that no entry of ``data`` brings."""
    found = []
    for path in sorted(paths):
        for entry in entries:
            if relation(path, entry.path) is Relation.INSIDE and not any(
                relation(path, item.path) is Relation.INSIDE for item in data
            ):
                origin = posixpath.normpath(entry.origin + path[len(entry.path) :])
                found.append(Brought(path, origin, False, entry.owner, entry.instruction))
    return found


def _placed(subject: Subject) -> None:
    """Raises No where paths are relative to a working folder of the image that is not known."""
    if _AT_ROOT.search(subject.final.base.repository):
        return
    for item in subject.body:
        if item.keyword == "WORKDIR" and item.arguments.text.startswith("/"):
            return
        if item.keyword == "WORKDIR" or (item.keyword in ("COPY", "ADD") and not item.words[-1].text.startswith("/")):
            raise No(item, f"it is relative to the working folder of {subject.final.base.repository}")
    raise No(subject.origin, f"the working folder of {subject.final.base.repository} is not known")


def _old_folder(subject: Subject, image: str) -> str | None:
    """The working folder of the old image, where the new one has another."""
    return "/home/gradle" if subject.final.base.repository == "gradle" and image != subject.written_base else None


class _Reader:
    """Reads scripts that are in the image because they came from the context."""

    def __init__(self, subject: Subject, entries: Sequence[Brought]) -> None:
        self.subject = subject
        self.entries = entries
        self.bash = False

    def text(self, path: str) -> str | None:
        """The text of a script, None where there is none."""
        origin = origin_of(self.entries, path)
        if origin is None or self.subject.context is None:
            return None
        text = java_project.read_text(self.subject.context / origin)
        if not text or "\0" in text or not (text.startswith("#!") or path.endswith(".sh")):
            return None
        self.bash = self.bash or "bash" in text.split("\n", 1)[0]
        return text


def _copies(
    subject: Subject, done: Sequence[Steps], paths: Sequence[str], data: Sequence[Brought], made_at: int
) -> list[str]:
    """The lines: data first, what the build makes last; files of one folder in one line."""
    outside = [entry for entry in data if not any(relation(entry.path, path) is Relation.INSIDE for path in paths)]
    lines = data_lines(subject, done, outside)
    for path in paths:
        target = f"{posixpath.dirname(path).rstrip('/')}/" if "*" in path else ""
        lines.append(copy_line(subject, path, target, owner_of(done, path, since=made_at)))
    return lines
