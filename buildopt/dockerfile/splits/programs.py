"""What splitting Go and Rust files has in common: from the programs that RUNs build to the two stages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import states_on
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits import shipped
from buildopt.dockerfile.splits.build_steps import Steps, repeated, steps
from buildopt.dockerfile.splits.compiled import Shipment, begins, followed, inside, without_lookers, without_twins
from buildopt.dockerfile.splits.repeats import (
    relocated,
    runnable,
    same_owners,
    secrets,
    trimmed,
    with_settings,
    without_settings,
)
from buildopt.dockerfile.splits.shipped import Landed
from buildopt.dockerfile.splits.splits import (
    No,
    Split,
    Subject,
    casing,
    copy_line,
    known_user,
    plain_copy,
    uncovered,
)
from buildopt.dockerfile.splits.started import Start, checked, started


def on_image(subject: Subject, variables: dict[str, str | None]) -> Subject:
    """The subject with variables that its base is known to set, without commands that make nothing."""
    known = states_on(subject.dockerfile, variables)
    runs = [
        replace(without_settings(without_lookers(run)), state=known[run.instruction.span.start]) for run in subject.runs
    ]
    return replace(subject, known=known, runs=runs)


def copied(subject: Subject) -> tuple[Landed, ...]:
    """The files of the context by where they lie. Raises No where one of the last COPYs is not plain."""
    for instruction in subject.tail:
        if instruction.keyword in ("COPY", "ADD"):
            plain_copy(instruction)
    return shipped.landed(subject)


def known_steps(subject: Subject, is_build: Callable[[Command], bool]) -> list[Steps]:
    """What the RUNs do. Raises No where that is not known of one."""
    done = steps(subject, is_build)
    for item in done:
        if item.odd:
            raise No(item.run.instruction, item.odd)
    return done


def started_programs(
    subject: Subject,
    files: Sequence[Landed],
    made: Iterable[tuple[str, Run]],
    done: Sequence[Steps],
    is_folder: Callable[[str], bool],
) -> tuple[dict[str, Run], Start, Start]:
    """The programs where they lie in the end, what a container starts, and what its check does. Raises No."""
    outputs = followed(subject, made, done, is_folder)
    read = shipped.script_reader(subject, files)
    start, check = started(subject, read), checked(subject, read)
    begins(subject, outputs, start, check)
    return without_twins(outputs, start, check), start, check


def two_stages(
    found: Shipment,
    image: str,
    is_needed: Callable[[str], bool],
    *,
    stays: str,
    variable: tuple[str, str],
    lines: Sequence[str],
    workdir: str | None = None,
    install: Sequence[str] = (),
) -> Split:
    """The split: programs and data on the image. Raises No.

    ``stays``: what does not come along. ``variable``: the folder of the tool and the variable that names it.
    ``lines`` stand before what is shipped, ``install`` behind FROM.
    """
    subject = found.subject
    data, covers = found.data()
    paths = [path for path in found.outputs if not inside(path, covers)]
    uncovered(subject, (*found.outputs, *covers))
    again = with_settings(subject, repeated(subject, found.steps, [*found.outputs, *covers], is_needed))
    found.all_is_there(again)
    found.modes(covers)
    same_owners(subject, found.steps)
    runnable(subject, again.offsets, image)
    users = [item for item in subject.head if item.keyword == "USER"]
    known_user((*users, *subject.tail), again.users)
    for item in subject.runs:
        if item.instruction.span.start in again.offsets and not item.state.root:
            raise No(item.instruction, "another user than root runs what the runtime stage must repeat")
    moved = relocated(subject, found.steps, again.offsets)
    name, folder = variable
    env = casing(subject)("ENV")
    path = (f"{env} PATH={folder}/bin:$PATH",) if found.by_name(f"{folder}/bin") else ()
    texts = [item.arguments.text for item in subject.body if item.keyword != "RUN"]
    named = any(re.search(rf"\$\{{?{name}\b", text) for text in texts)
    shown = ", ".join(found.outputs) if len(found.outputs) < 4 else "what is built"
    what = f"only {shown} is shipped" if not data else f"only {shown} and the files that it may read are shipped"
    return Split(
        image,
        (*path, *lines, *data, *(copy_line(subject, path, chown=found.owner(path)) for path in paths)),
        f"a build stage, and a runtime stage on {image.rpartition('/')[2]}",
        f"{what}; {stays} stay in the build stage",
        replayed=(again.offsets - moved) | {item.span.start for item in users},
        relocated=moved | secrets(subject),
        texts=trimmed(subject, again.offsets, is_needed),
        workdir=workdir,
        first=(*install, *((f"{env} {name}={folder}",) if named else ())),
    )
