"""Changes of a project, one at a time, each with why its next build is to run steps: for the test and the benchmark."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildopt.build.context_files import read_listing
from buildopt.build.why import PlatformMisses, explain
from buildopt.build.why_causes import NOT_SURE, first_line
from buildopt.engine.connection import Engine
from buildopt.history.store import Store

AMD64, ARM64 = "linux/amd64", "linux/arm64"
TOKEN = "t0ken-of-the-first-build"
OTHER_TOKEN = "t0ken-of-the-second-build"
_BASE = """FROM scratch
ARG TARGETARCH
COPY busybox-${TARGETARCH} /bin/busybox
COPY busybox-${TARGETARCH} /bin/sh
COPY etc /etc
"""
_DOCKERFILE = """# syntax-free on purpose
ARG BASE=1
FROM REGISTRY/team/base:$BASE AS tools
COPY tool.c /tool.c
RUN /bin/busybox cat /tool.c > /tool

FROM REGISTRY/team/base:$BASE AS side
RUN echo side > /side

FROM REGISTRY/team/base:$BASE
ARG TARGETARCH
WORKDIR /app
COPY --from=tools /tool /bin/tool
COPY conf-${TARGETARCH} /conf
COPY --exclude=*.md docs /docs
RUN --mount=type=bind,source=scripts,target=/scripts sh /scripts/build.sh
ARG VERSION=1
RUN echo $VERSION > /version
ENV MODE=fast
RUN echo $MODE > /mode
ARG NPM_TOKEN
RUN echo built > /built
COPY <<EOF /note
hello
EOF
RUN <<EOF
echo one > /one
EOF
ADD data.tar /data/
COPY --from=extra . /extra/
RUN --mount=type=cache,target=/cache echo hit >> /cache/log
RUN --mount=type=secret,id=key echo secret > /secret-step
COPY src/ src/
COPY . /all/
USER 1000
RUN echo me
LABEL v=1
"""


@dataclass(slots=True)
class Project:
    """A build context, beside it a named one and a secret, and how to build it."""

    folder: Path
    engine: Engine
    registry: str
    busybox: Path
    """A folder with ``busybox-amd64`` and ``busybox-arm64``."""

    @property
    def context(self) -> Path:
        return self.folder / "project"

    @property
    def environment(self) -> dict[str, str]:
        return {**self.engine.environment, "DOCKER_CONFIG": str(self.folder / "docker"), "NO_COLOR": "1"}

    def make(self) -> None:
        """Write every file, and push the first base image."""
        for name, text in (
            ("Dockerfile", _DOCKERFILE.replace("REGISTRY", self.registry)),
            (".dockerignore", "Dockerfile\n.dockerignore\n"),
            ("tool.c", "int main;\n"),
            ("conf-amd64", "amd64\n"),
            ("conf-arm64", "arm64\n"),
            ("src/a.c", "a\n"),
            ("src/b.c", "b\n"),
            ("docs/guide.txt", "guide\n"),
            ("docs/notes.md", "notes\n"),
            ("scripts/build.sh", "echo built > /out\n"),
            ("scratch.log", "log\n"),
            ("../extra/e", "e\n"),
            ("../key", "key\n"),
        ):
            self.write(name, text)
        os.symlink("a.c", self.context / "src/link")
        self.pack("one")
        self.push_base("first")

    def write(self, name: str, text: str) -> None:
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace(self, old: str, new: str, name: str = "Dockerfile") -> None:
        text = (self.context / name).read_text()
        assert old in text, old
        self.write(name, text.replace(old, new))

    def pack(self, text: str) -> None:
        """Write data.tar with one file."""
        with tarfile.open(self.context / "data.tar", "w") as tar:
            entry = tarfile.TarInfo("data.txt")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))

    def push_base(self, mark: str) -> None:
        """Push a base image whose files differ with ``mark`` as team/base:1 and :2."""
        base = self.folder / f"base-{mark}"
        shutil.copytree(self.busybox, base, dirs_exist_ok=True)
        (base / "etc").mkdir()
        (base / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nme:x:1000:1000::/:/bin/sh\n")
        (base / "etc/group").write_text("root:x:0:\nme:x:1000:\n")
        (base / "etc/mark").write_text(mark)
        (base / "Dockerfile").write_text(_BASE)
        self.run(base, "build-once", "--quiet", "--platforms", "amd64,arm64")
        names = [f"{self.registry}/team/base:{number}" for number in (1, 2)]
        self.run(base, "push", "--quiet", *names, "--from-oci", ".buildopt/image")

    def run(self, folder: Path, *words: str, fails: bool = False) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "buildopt", *words],
            cwd=folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=300,
        )
        assert (done.returncode != 0) == fails, done.stderr

    def build(self, *words: str, fails: bool = False) -> None:
        given = ("--build-context", "extra=../extra", "--secret", "id=key,src=../key", *words)
        given = given if "--platforms" in words else ("--platforms", "amd64", *given)
        self.run(self.context, "build-once", "--quiet", *given, fails=fails)

    def why(self) -> tuple[PlatformMisses, ...]:
        """What is said of the last build, by platform."""
        records = list(Store.of(self.context).records())

        def tree(name: str) -> Mapping[str, str] | None:
            data = Store.of(self.context).tree(name)
            return None if data is None else read_listing(data)

        return explain(records[0], records[1:], tree)


@dataclass(frozen=True, slots=True)
class Expected:
    """A step that missed by itself: how its instruction begins, the kind of its first cause, and what that says."""

    instruction: str
    kind: str
    says: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One change, the words of the build after it, and what is to be said for each platform (nothing: all cached)."""

    name: str
    edit: Callable[[Project], object]
    expected: Mapping[str, Sequence[Expected]] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """``right``, ``not sure`` or ``wrong``, and what was said."""

    change: str
    verdict: str
    said: str


def verdict(change: Change, said: Sequence[PlatformMisses]) -> Verdict:
    """How right it is what was said of the build after a change."""
    judged = {_judged(change.expected.get(entry.platform, ()), entry) for entry in said}
    worst = next(word for word in ("wrong", "not sure", "right") if word in judged)
    causes = [
        f"{entry.platform}: {first_line(miss.step.text)}: {cause.text} [{cause.kind}, {cause.certainty}]"
        for entry in said
        for miss in entry.misses
        for cause in miss.causes
    ]
    return Verdict(change.name, worst, "; ".join(causes) or "everything was cached")


def _judged(expected: Sequence[Expected], entry: PlatformMisses) -> str:
    if len(entry.misses) != len(expected):
        return "wrong"
    sure = True
    for want, miss in zip(expected, entry.misses, strict=True):
        cause = miss.causes[0]
        if TOKEN in repr(miss) or OTHER_TOKEN in repr(miss):
            return "wrong"
        sure = sure and cause.certainty != NOT_SURE
        if cause.certainty == NOT_SURE and cause.kind != want.kind:
            continue
        if not " ".join(miss.step.text.split()).startswith(want.instruction) or cause.kind != want.kind:
            return "wrong"
        if not all(word in " ".join((cause.text, *cause.detail)) for word in want.says):
            return "wrong"
    return "right" if sure else "not sure"


def one(instruction: str, kind: str, *says: str) -> dict[str, Sequence[Expected]]:
    """One step for amd64."""
    return {AMD64: (Expected(instruction, kind, says),)}


def nothing(project: Project) -> None:
    """Change nothing."""


def touched(project: Project) -> None:
    """Other times, the same content."""
    os.utime(project.context / "src/a.c", (1, 1))


def relinked(project: Project) -> None:
    """Another target of a link."""
    os.remove(project.context / "src/link")
    os.symlink("b.c", project.context / "src/link")


def pruned(project: Project) -> None:
    """Lose the whole cache."""
    argv = [*project.engine.buildx, *(("--builder", project.engine.builder) if project.engine.builder else ())]
    subprocess.run([*argv, "prune", "--all", "--force"], env=project.environment, check=True, capture_output=True)


def filled_cache_mount(project: Project) -> None:
    """Put something into the cache mount from another build."""
    base = f"FROM {project.registry}/team/base:1\n"
    project.write("../other/Dockerfile", base + "RUN --mount=type=cache,target=/cache echo more >> /cache/log\n")
    project.run(project.folder / "other", "build-once", "--quiet", "--platforms", "amd64")


def _edit(old: str, new: str, name: str = "Dockerfile") -> Callable[[Project], None]:
    return lambda project: project.replace(old, new, name)


def _write(name: str, text: str) -> Callable[[Project], None]:
    return lambda project: project.write(name, text)


_FIRST = (
    Expected("COPY tool.c", "never-built"),
    Expected("WORKDIR /app", "never-built"),
)
_BOTH = ("--platforms", "amd64,arm64")

CHANGES = (
    Change("first build", nothing, {AMD64: _FIRST}),
    Change("nothing", nothing),
    Change("a comment", _edit("# syntax-free", "# no syntax")),
    Change("blanks between words", _edit("COPY src/ src/", "COPY   src/    src/")),
    Change("times of a file", touched),
    Change("a late LABEL", _edit("LABEL v=1", "LABEL v=2")),
    Change("an argument that no ARG takes", nothing, words=("--build-arg", "NOBODY=1")),
    Change("a stage's name", _edit("AS side", "AS aside")),
    Change("the secret's value", _write("../key", "other\n")),
    Change("what the cache mount holds", filled_cache_mount),
    Change(
        "a file that --exclude leaves out", _edit("COPY . /all/\n", ""), one("RUN echo me", "instruction", "COPY .")
    ),
    Change("that file again", _write("docs/notes.md", "other notes\n")),
    Change(
        "an instruction added",
        _edit("USER 1000\n", "COPY . /all/\nUSER 1000\n"),
        one("COPY . /all/", "instruction", "added"),
    ),
    Change(
        "a RUN", _edit("echo built > /built", "echo BUILT > /built"), one("RUN echo BUILT", "instruction", "/built")
    ),
    Change("an ARG's default", _edit("ARG VERSION=1", "ARG VERSION=2"), one("RUN echo $V", "instruction", "VERSION=2")),
    Change("--build-arg", nothing, one("RUN echo $V", "build-argument", "VERSION", "7"), ("--build-arg", "VERSION=7")),
    Change("back to a build before", nothing),
    Change(
        "a secret-sounding argument",
        nothing,
        one("RUN echo BUILT", "build-argument", "NPM_TOKEN"),
        ("--build-arg", f"NPM_TOKEN={TOKEN}"),
    ),
    Change(
        "its value",
        nothing,
        one("RUN echo BUILT", "build-argument", "NPM_TOKEN", "not shown"),
        ("--build-arg", f"NPM_TOKEN={OTHER_TOKEN}"),
    ),
    Change("an ENV", _edit("ENV MODE=fast", "ENV MODE=slow"), one("RUN echo $MODE", "instruction", "ENV MODE=slow")),
    Change("a heredoc that is copied", _edit("\nhello\n", "\nhi\n"), one("COPY <<EOF", "instruction", "+ hi")),
    Change("a heredoc that runs", _edit("echo one", "echo two"), one("RUN <<EOF", "instruction", "echo two")),
    Change("a tar that ADD unpacks", lambda project: project.pack("two"), one("ADD data.tar", "files", "data.tar")),
    Change("a named context", _write("../extra/e", "other\n"), one("COPY --from=extra", "files", "extra:e")),
    Change("USER", _edit("USER 1000", "USER 0"), one("RUN echo me", "instruction", "1000", "0")),
    Change("SHELL", _edit("USER 0", 'SHELL ["/bin/sh", "-ec"]\nUSER 0'), one("RUN echo me", "instruction", "SHELL")),
    Change("a mounted file", _write("scripts/build.sh", "echo x > /out\n"), one("RUN --mount", "files", "build.sh")),
    Change("a file's content", _write("src/a.c", "A\n"), one("COPY src/", "files", "changed: src/a.c")),
    Change("a file more", _write("src/c.c", "c\n"), one("COPY src/", "files", "added: src/c.c")),
    Change("a file less", lambda p: os.remove(p.context / "src/b.c"), one("COPY src/", "files", "removed: src/b.c")),
    Change(
        "a mode", lambda p: os.chmod(p.context / "src/a.c", 0o755), one("COPY src/", "files", "mode changed: src/a.c")
    ),
    Change("a link's target", relinked, one("COPY src/", "files", "src/link")),
    Change(
        "an empty folder", lambda p: os.mkdir(p.context / "src/empty"), one("COPY src/", "files", "added: src/empty")
    ),
    Change("a file below COPY .", _write("new.txt", "new\n"), one("COPY . /all/", "files", "added: new.txt")),
    Change(
        ".dockerignore",
        _write(".dockerignore", "Dockerfile\n.dockerignore\n*.log\n"),
        one("COPY . /all/", "files", "removed: scratch.log", "dockerignore"),
    ),
    Change("an odd name", _write("src/ü\n x", "x\n"), one("COPY src/", "files", "added: src/ü")),
    Change("another stage's file", _write("tool.c", "int tool;\n"), one("COPY tool.c", "files", "changed: tool.c")),
    Change(
        "WORKDIR", _edit("WORKDIR /app", "WORKDIR /application"), one("WORKDIR /application", "instruction", "/app")
    ),
    Change(
        "an instruction removed",
        _edit("RUN --mount=type=bind,source=scripts,target=/scripts sh /scripts/build.sh\n", ""),
        one("RUN echo $V", "instruction", "removed", "scripts/build.sh"),
    ),
    Change("--source-date-epoch", nothing, one("WORKDIR", "source-date-epoch"), ("--source-date-epoch", "1000")),
    Change(
        "--target, a stage that was never built", nothing, one("RUN echo side", "never-built"), ("--target", "aside")
    ),
    Change(
        "the target's RUN",
        _edit("echo side", "echo a"),
        one("RUN echo a", "instruction", "side"),
        ("--target", "aside"),
    ),
    Change(
        "a RUN that fails",
        _edit("RUN echo $MODE", "RUN false $MODE"),
        one("RUN false", "instruction", "false"),
        fails=True,
    ),
    Change("the same again", nothing, one("RUN false", "unfinished"), fails=True),
    Change("mended", _edit("RUN false $MODE", "RUN echo $MODE")),
    # BuildKit takes WORKDIR from its cache even then.
    Change("--no-cache", nothing, one("COPY tool.c", "no-cache"), ("--no-cache",)),
    Change(
        "the base image moved",
        lambda project: project.push_base("second"),
        {AMD64: (Expected("COPY tool.c", "base-image", ("sha256:",)), Expected("WORKDIR", "base-image"))},
    ),
    Change(
        "the cache was pruned", pruned, {AMD64: (Expected("COPY tool.c", "evicted"), Expected("WORKDIR", "evicted"))}
    ),
    Change(
        "a platform more",
        nothing,
        {ARM64: (Expected("COPY tool.c", "never-built", (ARM64,)), Expected("WORKDIR", "never-built", (ARM64,)))},
        _BOTH,
    ),
    Change(
        "COPY . taken out",
        _edit("COPY . /all/\n", ""),
        {
            AMD64: (Expected("RUN echo me", "instruction", ("removed",)),),
            ARM64: (Expected("RUN echo me", "instruction", ("removed",)),),
        },
        _BOTH,
    ),
    Change(
        "that file",
        _write("conf-arm64", "other\n"),
        {ARM64: (Expected("COPY conf-", "files", ("conf-arm64",)),)},
        _BOTH,
    ),
    Change(
        "an argument of one platform",
        _edit("ARG VERSION=2", "ARG VERSION=$TARGETARCH"),
        {platform: (Expected("RUN echo $V", "instruction", ("VERSION",)),) for platform in (AMD64, ARM64)},
        _BOTH,
    ),
)


def verdicts(project: Project, changes: Sequence[Change] = CHANGES) -> Iterator[Verdict]:
    """Make the changes one after the other, build after each, and judge what is said."""
    for change in changes:
        change.edit(project)
        project.build(*change.words, fails=change.fails)
        yield verdict(change, project.why())
