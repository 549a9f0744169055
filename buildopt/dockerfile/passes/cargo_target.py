"""Keep what cargo compiles between builds.

What it does
------------
Gives the RUN that runs ``cargo build`` in a build stage a cache mount for ``target``, copies the programs out of it in
the same RUN, and lets ``COPY --from`` take them from where they are now. Before cargo runs, the files of the project
get new times: cargo asks nothing but the time whether a source of yours has changed, and files that are older than the
last build would pass for those that it was built from. What crates of a registry are compiled to is kept, and found
again by version, features, compiler and flags.

It asks for the build context, and leaves alone what it cannot show to be the same: several RUNs that compile, something
else that reads ``target``, sources outside the working folder, files that are fetched with times of their own, settings
that move ``target``, and crates that read the system's headers (bindgen).

Why
---
A changed line of your own throws the layer of ``cargo build`` away, and with it every crate that it compiled: a rebuild
compiles two hundred crates to get at one. With ``target`` on the builder it compiles your own, and links.

Example
-------
::

    FROM rust:1.82 AS build
    WORKDIR /src
    COPY . .
    RUN cargo build --release

    FROM debian:bookworm-slim
    COPY --from=build /src/target/release/app /usr/local/bin/app
    CMD ["app"]

Use instead
-----------
::

    FROM rust:1.82 AS build
    WORKDIR /src
    COPY . .
    ARG TARGETPLATFORM
    # Cargo tells by times what has changed: with new ones, it takes nothing of ours from the mount.
    RUN --mount=type=cache,id=app-target-rust-1.82-$TARGETPLATFORM,target=/src/target,sharing=locked \\
        find . -path ./target -prune -o -type f -exec touch {} + && rm -f target/release/app \\
        && cargo build --release \\
        && mkdir /built && cp target/release/app /built/

    FROM debian:bookworm-slim
    COPY --from=build /built/app /usr/local/bin/app
    CMD ["app"]

References
----------
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
- https://doc.rust-lang.org/cargo/reference/build-cache.html
- https://doc.rust-lang.org/nightly/nightly-rustc/cargo/core/compiler/fingerprint/index.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from buildopt.dockerfile.caches.cache_where import No
from buildopt.dockerfile.caches.cargo_build import CargoBuild, cargo_build
from buildopt.dockerfile.caches.cargo_programs import Program, copied_by_hand, programs
from buildopt.dockerfile.caches.mounts import CacheMount, declaration, indent, insertion
from buildopt.dockerfile.managers import CARGO
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.passes.result import Change, PassResult, Refusal
from buildopt.dockerfile.passes.runs import Run, runs_by_family
from buildopt.source import Edit, Span

NAME = "cargo_target"
OPT_IN = False
_COMMENT = "# Cargo tells by times what has changed: with new ones, it takes nothing of ours from the mount."
_WHY = (
    "the crates that a project depends on are compiled once, not with each change of its own sources; the programs are"
    " copied out of the mount in the same RUN"
)


def rewrite(dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
    """Mount ``target`` wherever nothing but the programs is taken from it."""
    changes: list[Change] = []
    refused: list[Refusal] = []
    for runs in runs_by_family(dockerfile).values():
        if not any(use.subcommand in ("build", "b") for run in runs for use in run.uses(CARGO)):
            continue
        try:
            build = cargo_build(dockerfile, context, runs)
            if build is not None:
                changes.append(_change(dockerfile, build, programs(dockerfile, build)))
        except No as no:
            refused.append(Refusal(NAME, no.line, no.reason))
    return PassResult(tuple(changes), tuple(refused))


def _change(dockerfile: Dockerfile, build: CargoBuild, taken: Sequence[Program]) -> Change:
    run = build.run
    argument = "TARGETPLATFORM"
    identity = f"{build.name}-target-{build.base}-${argument}"
    mount = CacheMount(build.target, "locked", identity, argument=argument)
    edits = [insertion(dockerfile, run.instruction, [mount])]
    edits += _commands(dockerfile, run, build, taken)
    comment = f"{_COMMENT}{dockerfile.source.newline}"
    if argument not in run.state.arguments:
        edits.append(declaration(dockerfile, run.instruction, argument, comment))
    else:
        edits.append(_above(dockerfile, run, comment))
    edits += [Edit(program.word, f"/{build.out}/{program.name}") for program in taken]
    return Change(NAME, "a cache mount for what cargo compiles", _WHY, run.instruction.lines, tuple(edits))


def _above(dockerfile: Dockerfile, run: Run, comment: str) -> Edit:
    keyword = run.instruction.keyword_span
    start = dockerfile.source.line_start(run.instruction.lines[0])
    own = dockerfile.source.text[start : keyword.start]
    return Edit(Span(start, start), f"{own}{comment}")


def _commands(dockerfile: Dockerfile, run: Run, build: CargoBuild, taken: Sequence[Program]) -> list[Edit]:
    """What stands before and behind the commands of the RUN."""
    instruction = run.instruction
    joint = f" {dockerfile.escape}{dockerfile.source.newline}{indent(dockerfile, instruction)}&& "
    paths = list(dict.fromkeys(program.path for program in taken))
    made = paths or copied_by_hand(build)
    # A program that is made no more must be missed, as it would be without the mount.
    first = f"find . {_kept(build)} -prune -o -type f -exec touch {{}} + && rm -f {' '.join(made)}"
    whole = instruction.arguments.span(0, len(instruction.arguments.text))
    start, end = whole.start, whole.end
    edits = [Edit(Span(start, start), f"{first}{joint}")]
    if paths:
        edits.append(Edit(Span(end, end), f"{joint}mkdir /{build.out} && cp {' '.join(paths)} /{build.out}/"))
    return edits


def _kept(build: CargoBuild) -> str:
    if not build.vendored:
        return "-path ./target"
    return rf"\( -path ./target -o -path ./{build.vendored} \)"
