"""Leave out of the build context what no build needs.

What it does
------------
Writes a ``.dockerignore``, or adds to the one that is there (to ``Dockerfile.dockerignore`` where that exists), for
what a ``COPY . .`` sends along needlessly. The Dockerfile itself does not change, so this is a second file: it is
listed, and written with ``-w``.

It is proposed only what no image changes without:

- what the build makes itself, in every stage that would get it: ``node_modules``, ``target``, ``.next``. It must not be
  there now, or git must ignore it and its stage be thrown away; ``node_modules`` may also be there with a lockfile, as
  the installer then says what belongs into it;
- ``.git``, ``__pycache__``, ``.venv`` where they are not there now, so that they never get into an image, or where they
  end in a stage that is thrown away; ``.git`` only where no command and no file of the context asks git;
- the Dockerfile, the files of CI systems, editors and Compose, where they end in a stage that is thrown away and each
  program of it takes its files by name.

It never leaves out what COPY, ADD or a bind mount names, nor ``.env`` files and keys: programs read those when they
run. What a further Dockerfile of the same context needs stays too. Where COPY names all that it takes, nothing is
needed: BuildKit sends only that.

Why
---
Each commit, test run or local install changes what is sent, so that ``COPY . .`` and all that follows is made anew; and
modules installed for another system hide what the build installs.

Example
-------
::

    FROM node:22
    WORKDIR /app
    COPY package.json package-lock.json ./
    RUN npm ci
    COPY . .
    CMD ["node", "server.js"]

Use instead
-----------
The same, with a ``.dockerignore`` beside it that holds ``node_modules``, which ``npm ci`` makes itself, and ``.git``.

::

    FROM node:22
    WORKDIR /app
    COPY package.json package-lock.json ./
    RUN npm ci
    COPY . .
    CMD ["node", "server.js"]

References
----------
- https://docs.docker.com/build/concepts/context/#dockerignore-files
- https://docs.docker.com/build/building/best-practices/#exclude-with-dockerignore
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from buildopt.dockerfile.context import Ignored, read_patterns
from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.passes.context_reads import Read, context_reads
from buildopt.dockerfile.passes.context_text import builds_inline, mention_of_git, other_dockerfiles
from buildopt.dockerfile.passes.ignore_candidates import Candidate, Project, candidates, problem
from buildopt.dockerfile.passes.result import PassResult, Refusal, SecondFile
from buildopt.dockerfile.passes.state import base_reference
from buildopt.errors import BuildoptError
from buildopt.source import MAX_BYTES, Source

NAME = "dockerignore"
OPT_IN = False
_MOST_DOCKERFILES = 40


@dataclass(frozen=True, slots=True)
class _IgnoreFile:
    """The file that decides. ``text`` is None where there is none; ``own``: it is this Dockerfile's alone."""

    path: Path
    text: str | None
    own: bool


def rewrite(dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
    """Propose what to leave out of the context; the Dockerfile stays as it is."""
    found = list(context_reads(dockerfile))
    unknown = next((item for item in found if isinstance(item, Instruction)), None)
    reads = [item for item in found if isinstance(item, Read)]
    whole = next((read.instruction for read in reads if read.source == "."), None)
    if context is None:
        if whole is None:
            return PassResult()
        return _refused(whole, "what lies in the context is not known: give --context")
    folders = [read for read in reads if read.source == "." or (context / read.source).is_dir()]
    if not folders:
        return PassResult()
    first = folders[0].instruction
    if unknown is not None:
        return _refused(unknown, "what it takes of the context depends on a variable: nothing is left out")
    if any("onbuild" in base_reference(dockerfile, stage) for stage in dockerfile.stages):
        return _refused(first, "the base image copies from the context itself: nothing is left out")
    file = _ignore_file(Path(dockerfile.source.path), context)
    patterns = read_patterns(file.text.lstrip("\ufeff")) if file is not None and file.text is not None else ()
    if file is None or patterns is None:
        return _refused(first, "the ignore file cannot be read, or Docker would refuse it")
    asked = lru_cache(maxsize=1)(lambda: mention_of_git(context))
    project = Project(dockerfile, context, reads, Ignored(file.path.name, tuple(patterns)), asked)
    others = [] if file.own else _others(project)
    proposed, refusals = _proposed(project, others)
    if not proposed:
        return PassResult(refused=tuple(refusals))
    text = _text(file.text, proposed)
    why = "; ".join(f"{item.pattern}: {item.why}" for item in proposed)
    return PassResult(refused=tuple(refusals), files=(SecondFile(NAME, file.path, file.text, text, why),))


def _refused(instruction: Instruction, reason: str) -> PassResult:
    return PassResult(refused=(Refusal(NAME, instruction.lines[0], reason),))


def _proposed(project: Project, others: list[Project | None]) -> tuple[list[Candidate], list[Refusal]]:
    """What to leave out, and why what is there now and seems needless has to stay."""
    proposed: dict[str, Candidate] = {}
    refusals: dict[str, Refusal] = {}
    for candidate in candidates(project):
        covering = project.covering(candidate.path)
        if candidate.pattern in proposed or not covering or _settled(project, candidate):
            continue
        reason = problem(project, candidate)
        if not reason and any(not _harmless(other, candidate) for other in others):
            reason = "another Dockerfile of this context may need it"
        if not reason:
            proposed[candidate.pattern] = candidate
        elif project.present(candidate.path) and (candidate.made or candidate.path in (".git", ".venv")):
            line = covering[0].instruction.lines[0]
            refusals[candidate.pattern] = Refusal(NAME, line, f"{candidate.pattern} stays in the context: {reason}")
    return list(proposed.values()), list(refusals.values())


def _settled(project: Project, candidate: Candidate) -> bool:
    """Whether the ignore file speaks of it already, or an instruction asks for it by name."""
    ignored = project.ignored
    if ignored is not None:
        if ignored.leaves_out(candidate.path):
            return True
        if any(
            item.keeps and (item.matches(candidate.path) or item.reaches_below(candidate.path))
            for item in ignored.patterns
        ):
            return True
    return any(read.names(candidate.path) for read in project.reads)


def _others(project: Project) -> list[Project | None]:
    """The further Dockerfiles of the context; None for one that cannot be understood."""
    context = project.context
    found: list[Project | None] = [None] if builds_inline(context) else []
    paths = other_dockerfiles(context, project.dockerfile.source.path)
    if len(paths) > _MOST_DOCKERFILES:
        return [None]
    for path in paths:
        try:
            dockerfile = parse(Source.read(context / path))
        except (BuildoptError, OSError):
            found.append(None)
            continue
        reads = list(context_reads(dockerfile)) if not dockerfile.errors else []
        if dockerfile.errors or any(isinstance(read, Instruction) for read in reads):
            found.append(None)  # broken, a template, or with variables
        else:
            plain = [read for read in reads if isinstance(read, Read)]
            folder = (context / path).parent
            found.append(replace(project, dockerfile=dockerfile, reads=plain))
            if folder != context:
                found.append(replace(project, dockerfile=dockerfile, context=folder, reads=plain))
    return found


def _harmless(other: Project | None, candidate: Candidate) -> bool:
    """Whether another Dockerfile can do without a candidate too."""
    if other is None:
        return False
    if any(read.names(candidate.path) for read in other.reads):
        return False
    return not other.covering(candidate.path) or not problem(other, candidate)


def _ignore_file(dockerfile: Path, context: Path) -> _IgnoreFile | None:
    """The ignore file that Docker takes for this Dockerfile and context; None where it cannot be read."""
    try:
        own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
        path = own if dockerfile.is_file() and own.is_file() else context / ".dockerignore"
        if not path.exists():
            return _IgnoreFile(path, None, own=False)
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        return _IgnoreFile(path, path.read_bytes().decode("utf-8"), own=path == own)
    except (OSError, ValueError):
        return None


def _text(before: str | None, proposed: Iterable[Candidate]) -> str:
    """The whole file with the new patterns at its end."""
    made = [item.pattern for item in proposed if item.made]
    unread = [item.pattern for item in proposed if not item.made]
    if before is not None:
        newline = "\r\n" if "\r\n" in before else "\n"
        joint = "" if not before or before.endswith("\n") else newline
        return before + joint + "".join(f"{pattern}{newline}" for pattern in made + unread)
    blocks = []
    if made:
        blocks.append(f"# the build makes {'it' if len(made) == 1 else 'these'} itself\n" + _lines(made))
    if unread:
        blocks.append(f"# no build reads {'it' if len(unread) == 1 else 'these'}\n" + _lines(unread))
    return "\n".join(blocks)


def _lines(patterns: Iterable[str]) -> str:
    return "".join(f"{pattern}\n" for pattern in patterns)
