"""The text of moved copies: manifests in their place, a RUN cut in two, the copies behind it."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.ordering.copied_files import Tree, Unknown
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Command, Part, Word
from buildopt.source import Edit, Span

_WORD = re.compile(r"[A-Za-z0-9@._+/-]+")
_MOST_LINES = 30
# What a comment above a copy says where it is about the copy, and where it is about the install behind it.
_OF_COPY = re.compile(
    r"(?i)\b(?:cop(?:y|ies|ied|ying)|add(?:s|ing)?|sources?|src|code|rest|everything|files?|ignore)\b|="
)
_OF_INSTALL = re.compile(r"(?i)\b(?:install|dependenc|depend|requirements?|packages?|modules?|deps)\w*")


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a RUN is cut: behind the part ``last``. ``options`` are added to ``command``, which then runs ``again``.

    ``last`` is None where nothing follows the install that could not stay with it. ``cleaning`` is what follows the
    second run too.
    """

    run: Run
    last: int | None
    command: Command | None = None
    options: tuple[str, ...] = ()
    cleaning: tuple[Part, ...] = ()
    again: bool = False


def copy_lines(copy: Instruction, text: str, tree: Tree, places: Sequence[str], base: str) -> list[str]:
    """The instructions that bring files (and folders) to their places, as the author of ``copy`` writes them.

    ``base`` is the folder that the copy's own destination names. Raises Unknown.
    """
    own = copy.words[-1].text
    groups: dict[str, list[str]] = {}
    for place in places:
        origin = tree.origin(place)
        if origin is None:
            raise Unknown(f"{place} does not come from the context")
        folder = place if tree.kind(place) == "folder" else posixpath.dirname(place)
        if tree.kind(place) == "file" and posixpath.basename(origin) != posixpath.basename(place):
            raise Unknown(f"{origin} is given another name")
        if tree.kind(place) == "folder":
            groups[f"{folder}/"] = [origin]
        else:
            groups.setdefault(folder, []).append(origin)
    if len(groups) > _MOST_LINES:
        raise Unknown(f"the manifests lie in {len(groups)} folders: too many lines to write")
    keyword = text[copy.keyword_span.start : copy.keyword_span.end]
    if keyword.upper() == "ADD":
        keyword = "COPY" if keyword.isupper() else "copy"
    flags = "".join(f" {text[flag.span.start : flag.span.end]}" for flag in copy.flags)
    if "\n" in flags:
        raise Unknown("the flags of the copy stand on several lines")
    lines = []
    for folder, origins in groups.items():
        target = _target(own, base, folder.rstrip("/") or "/")
        words = [*origins, target]
        if copy.exec_form:
            written = json.dumps(words, ensure_ascii=False)
        elif all(_WORD.fullmatch(word) for word in origins):
            written = " ".join(words)
        else:
            raise Unknown("a name of a file is not plain")
        lines.append(f"{keyword}{flags} {written}")
    return lines


def _target(own: str, base: str, folder: str) -> str:
    """A folder, written the way the destination of the copy is, with the slash that makes a folder of it."""
    own = re.sub(r"(?<=.)/+$", "", own)
    below = posixpath.relpath(folder, base)
    if below.startswith(".."):
        return folder.rstrip("/") + "/"
    if own in (".", "./") or not own:
        return "./" if below == "." else f"./{below}/"
    stem = own.rstrip("/")
    return f"{stem}/" if below == "." else f"{stem}/{below}/"


@dataclass(frozen=True, slots=True)
class Block:
    """A whole instruction with the comments that belong to it; ``text`` ends without a line break."""

    span: Span
    text: str
    spaced: bool  # an empty line follows it


def block(dockerfile: Dockerfile, instruction: Instruction, *, comments: bool = True) -> Block:
    """The lines of an instruction, and of the comments right above it where they are about it."""
    source = dockerfile.source
    lines = dockerfile.whole_lines(instruction)
    start = lines.start
    own = {source.position(comment.span.start)[0]: comment for comment in dockerfile.comments if not comment.inside}
    line = instruction.lines[0]
    above = []
    while comments and line - 1 in own:
        line -= 1
        above.append(own[line].text)
    said = " ".join(above)
    if above and (_OF_COPY.search(said) or not _OF_INSTALL.search(said)):
        start = source.line_start(line)
    text = source.text[start : lines.end]
    following = source.text[lines.end : lines.end + 2]
    return Block(Span(start, lines.end), text.rstrip("\r\n"), following.startswith(("\n", "\r\n")))


def removal(dockerfile: Dockerfile, found: Block) -> Edit:
    """Take a block out, with one of the two empty lines around it."""
    text = dockerfile.source.text
    start, end = found.span.start, found.span.end
    before = text[:start].endswith(("\n\n", "\n\r\n"))
    if before and found.spaced:
        end += 2 if text[end : end + 2] == "\r\n" else 1
    return Edit(Span(start, end), "")


def cut_edits(dockerfile: Dockerfile, cut: Cut, moved: Sequence[Block], *, spaced: bool) -> list[Edit]:
    """Put the moved blocks behind a RUN, or into it where it is cut. Raises Unknown."""
    source, instruction = dockerfile.source, cut.run.instruction
    newline = source.newline
    gap = newline * (2 if spaced else 1)
    edits = _options(cut)
    body = gap.join(item.text for item in moved)
    again = _again(cut) if cut.again else ""
    if cut.last is None:
        lines = dockerfile.whole_lines(instruction)
        ended = source.text[: lines.end].endswith("\n")
        tail = f"{gap}{_head(dockerfile, instruction)}{again}" if again else ""
        text = f"{newline if spaced else ''}{body}{tail}{newline}"
        behind_it = Edit(Span(lines.end, lines.end), text if ended else f"{newline}{text.rstrip(newline)}")
        if edits and edits[0].span == behind_it.span:  # where the file ends without a line break
            return [Edit(behind_it.span, edits[0].text + behind_it.text)]
        return [*edits, behind_it]
    parts = cut.run.script.parts
    behind, following = parts[cut.last], parts[cut.last + 1]
    start = cut.run.span(behind.span).end
    end = cut.run.span(following.span).start
    between = cut.run.script.comments
    if any(behind.span.end <= comment.start < following.span.start for comment in between):
        raise Unknown("a comment of the shell stands where this RUN would be cut")
    comments = [comment for comment in instruction.comments if start <= comment.span.start < end]
    kept = "".join(f"{source.text[item.span.start : item.span.end].strip()}{newline}" for item in comments)
    head = _head(dockerfile, instruction)
    entered = f"{again} && " if again else _entered(cut.run, parts[: cut.last + 1])
    edits.append(Edit(Span(start, end), f"{gap}{body}{gap}{kept}{head}{entered}"))
    return edits


def _options(cut: Cut) -> list[Edit]:
    """The options that the install gets. Raises Unknown."""
    if not cut.options or cut.command is None:
        return []
    word = _anchor(cut.command)
    if not cut.run.exact(word):
        raise Unknown("the install is quoted")
    point = cut.run.logical.span(word.span.end, word.span.end)
    return [Edit(point, "".join(f" {option}" for option in cut.options))]


def _anchor(command: Command) -> Word:
    """The word behind which options are put: the last one, or the one before ``--``."""
    texts = [word.text for word in command.argv]
    return command.argv[texts.index("--") - 1 if "--" in texts else -1]


def _again(cut: Cut) -> str:
    """The install as it was written, to run a second time; with the ``cd`` before it."""
    parts = cut.run.script.parts
    for index, part in enumerate(parts):
        if part.command is not None and cut.command is not None and part.command.span == cut.command.span:
            written = [_written(cut.run, item) for item in (part, *cut.cleaning)]
            return _entered(cut.run, parts[:index]) + " && ".join(written)
    raise Unknown("the install stands inside another command")


def _written(run: Run, part: Part) -> str:
    """A command on one line."""
    text = run.logical.text[part.span.start : part.span.end]
    return text if re.search(r"[\"'\\]", text) else re.sub(r"\s+", " ", text)


def _head(dockerfile: Dockerfile, instruction: Instruction) -> str:
    """``RUN`` and its flags, once more."""
    text, joint = dockerfile.source.text, f" {dockerfile.escape}{dockerfile.source.newline}    "
    keyword = text[instruction.keyword_span.start : instruction.keyword_span.end]
    flags = [text[flag.span.start : flag.span.end] for flag in instruction.flags]
    if len(flags) < 2:
        return " ".join([keyword, *flags]) + " "
    return f"{keyword} " + joint.join(flags) + joint


def _entered(run: Run, parts: Sequence[Part]) -> str:
    """The ``cd`` and ``set`` that what follows the cut relies on."""
    found = ""
    for part in parts:
        if part.command is not None and part.command.name in ("cd", "set"):
            found += f"{_written(run, part)} && "
    return found
