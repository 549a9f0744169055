"""What ``buildopt optimize`` makes of many Dockerfiles: what is changed, refused and repaired, and whether it is sound.

FOLDER: every file below it that is called like a Dockerfile, its own folder (or ``context`` beside it) being the build
context; where none is called so (or with ``--all``), every regular file (up to 8 MiB), without a context. Without
FOLDER, the fixtures of the passes and the projects of dockerfiles/ are taken.

Every result is parsed by BuildKit's own parser (from the wheel ``dockerfile``) and rewritten again: nothing may change
the second time, no ``# syntax=`` line may be new, and no mount may be over a path that a later instruction names (a
plain search of the text, apart from what the passes themselves know). With ``--check`` a private engine (root on
Linux) says what ``docker build --call=check`` finds in each changed file before and after: nothing may be new.

    python benchmarks/rewrites.py [FOLDER] [--all] [--check] [--show] [--no-context] [--jobs N]
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import oracle  # noqa: E402 - it lies beside the tests

from buildopt.dockerfile.lint import lint  # noqa: E402
from buildopt.dockerfile.model import Dockerfile, Instruction  # noqa: E402
from buildopt.dockerfile.optimize import optimize  # noqa: E402
from buildopt.dockerfile.parse import parse  # noqa: E402
from buildopt.settings import LintSettings  # noqa: E402
from buildopt.source import MAX_BYTES, Source  # noqa: E402

ORDER = LintSettings(select=("copy-before-install",))
# Languages that are compiled or bundled, by their base images, and what does it.
LANGUAGES = {
    "go": (re.compile(r"(^|/)golang\b"), re.compile(r"\bgo (?:build|install|get)\b|\bmake\b")),
    "rust": (re.compile(r"(^|/)rust\b"), re.compile(r"\bcargo (?:build|install|b)\b|\bmake\b")),
    "java": (
        re.compile(
            r"(^|/)(?:maven|gradle|openjdk|eclipse-temurin|amazoncorretto|ibm-semeru|azul|zulu|sapmachine|java)\b"
        ),
        re.compile(r"\b(?:mvn|mvnw|gradle|gradlew|javac|ant|sbt)\b"),
    ),
    "node": (
        re.compile(r"(^|/)node\b"),
        re.compile(
            r"\b(?:npm|yarn|pnpm|bun)(?: run)? build|\b(?:tsc|webpack|vite build|next build|ng build|nest build)\b"
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One file. ``defects`` are what must never be; ``language`` where it has one stage that builds something."""

    path: Path
    before: str
    after: str
    applied: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[str, int, str], ...] = ()
    defects: tuple[str, ...] = ()
    broken: bool = False
    late_install: bool = False
    repaired: bool = False
    language: str = ""
    split: bool = False
    new_checks: tuple[str, ...] = field(default=())


def examine(path: Path, *, context: bool) -> Outcome:
    """Rewrite one file, twice."""
    source = Source.read(path)
    folder = (path.parent / "context" if (path.parent / "context").is_dir() else path.parent) if context else None
    try:
        result = optimize(source, folder)
        again = optimize(result.source, folder)
        defects = list(_defects(source, result.source))
        if again.source.text != result.source.text:
            defects.append("a second run changes it again: " + ", ".join(sorted({item.name for item in again.changes})))
        late, still = (bool(list(lint(item, ORDER))) for item in (source, result.source))
    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
        return Outcome(path, source.text, source.text, defects=(traceback.format_exc(limit=-4),))
    return Outcome(
        path,
        source.text,
        result.source.text,
        tuple((item.name, item.title) for item in result.changes),
        tuple((item.name, item.line, item.reason) for item in result.refusals),
        tuple(defects),
        result.broken,
        late,
        late and not still,
        _language(parse(source)),
        any(item.name == "split_stages" for item in result.changes),
    )


def _defects(before: Source, after: Source) -> Iterator[str]:
    if before.text == after.text:
        return
    message = oracle.of_buildkit(after.text)
    if isinstance(message, str) and not isinstance(oracle.of_buildkit(before.text), str):
        yield f"BuildKit does not parse the result: {message}"
    if parse(after).directive("syntax") is not None and parse(before).directive("syntax") is None:
        yield "a syntax line is new"
    yield from _hidden(parse(before), parse(after))


def _hidden(before: Dockerfile, after: Dockerfile) -> Iterator[str]:
    """A new mount over a path that is named later without it, in its stage or those built on it or from it.

    Removing what is there (and in the image: nothing) is no reading.
    """
    old = {target for instruction in before.instructions for target in _targets(instruction)}
    seen: dict[int, dict[str, int]] = {}
    for stage in after.stages:
        mine = seen.setdefault(
            stage.index, dict(seen.get(stage.base_index, {})) if stage.base_index is not None else {}
        )
        for instruction in stage.instructions:
            mounted = set(_targets(instruction))
            origin = instruction.flag("from")
            other = after.stage(origin.value or "", stage.index) if origin is not None else None
            # What COPY takes lies in the other stage, where it puts it in this one.
            said = [(mine, _said(instruction))]
            if other is not None and instruction.keyword == "COPY":
                words = [word.text for word in instruction.words]
                said = [(seen[other.index], " ".join(words[:-1])), (mine, " ".join(words[-1:]))]
            for mounts, text in said:
                for target, line in mounts.items():
                    if target not in mounted and re.search(rf"{re.escape(target)}(?![\w.-])", text):
                        yield f"line {instruction.lines[0]} names {target}, where line {line} has a mount"
            mine.update((target, instruction.lines[0]) for target in mounted - old)


def _said(instruction: Instruction) -> str:
    if instruction.keyword in ("ENV", "ARG", "LABEL", "VOLUME", "WORKDIR"):
        return ""
    heredocs = " ".join(heredoc.body.text for heredoc in instruction.heredocs)
    text = " ".join(flag.value or "" for flag in instruction.flags if flag.name != "mount")
    return re.sub(r"\brm\s[^;&|]*", "", f"{text} {instruction.arguments.text} {heredocs}")


def _targets(instruction: Instruction) -> Iterator[str]:
    for flag in instruction.flags_named("mount"):
        if "type=cache" in (flag.value or ""):
            match = re.search(r"(?:target|dst|destination)=([^,]*)", flag.value or "")
            if match:
                yield match.group(1).rstrip("/")


def _language(dockerfile: Dockerfile) -> str:
    if len(dockerfile.stages) != 1 or dockerfile.errors:
        return ""
    image = dockerfile.stages[0].image
    text = " ".join(item.logical.text for item in dockerfile.instructions if item.keyword == "RUN")
    for name, (base, builds) in LANGUAGES.items():
        if image is not None and base.search(image.text) and builds.search(text):
            return name
    return ""


def dockerfiles(folder: Path, *, everything: bool = False) -> tuple[list[Path], bool]:
    """The files, and whether their folders are their contexts."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    files = [path for path in files if path.stat().st_size <= MAX_BYTES and not path.name.endswith(".dockerignore")]
    named = re.compile(r"(?:Dockerfile|Containerfile)(?:\..*)?|.*\.(?:Dockerfile|dockerfile)", re.IGNORECASE)
    called = [path for path in files if named.fullmatch(path.name)]
    return (called, True) if called and not everything else (files, False)


def check(outcomes: Sequence[Outcome]) -> dict[Path, list[str]]:
    """What BuildKit's checks find in the results and not in the files as they came."""
    from build_checks import answers
    from stub_registry import stub_registry

    from buildopt.engine import daemon
    from buildopt.engine.folders import Folders

    with tempfile.TemporaryDirectory() as name, stub_registry() as url:
        folder = Path(name)
        pairs: dict[Path, tuple[Path, Path]] = {}
        for number, outcome in enumerate(outcomes):
            both = (folder / f"{number}.before", folder / f"{number}.after")
            for path, text in zip(both, (outcome.before, outcome.after), strict=True):
                path.write_bytes(Source("Dockerfile", text).to_bytes())
            pairs[outcome.path] = both
        downloads = Folders.at().downloads
        with daemon.private_engine(folder / "engine", downloads=downloads, registry_mirrors=(url,)) as engine:
            found = answers(engine, [path for both in pairs.values() for path in both], folder / "copies")
    new: dict[Path, list[str]] = {}
    for path, (before, after) in pairs.items():
        old = Counter(item.check for item in found[before].warnings)
        said = [
            f"{item.check}: {item.detail}"
            for item in found[after].warnings
            if found[before].refused is None and item.check not in old
        ]
        said += [
            f"{name}: {count} instead of {old[name]}"
            for name, count in Counter(item.check for item in found[after].warnings).items()
            if found[before].refused is None and 0 < old[name] < count
        ]
        if found[after].refused and not found[before].refused:
            said.append(f"refused: {found[after].refused}")
        if said:
            new[path] = said
    return new


def report(outcomes: Sequence[Outcome], new: dict[Path, list[str]] | None, folder: Path, *, show: bool) -> int:
    """Print everything; the number of defects."""
    changed = [item for item in outcomes if item.before != item.after]
    print(f"{len(outcomes)} files: {len(changed)} changed, {sum(item.broken for item in outcomes)} that do not parse")
    print("changes: " + _counted(Counter(name for item in outcomes for name in {name for name, _ in item.applied})))
    print("refused: " + _counted(Counter(name for item in outcomes for name in {name for name, _, _ in item.refused})))
    late = [item for item in outcomes if item.late_install]
    print(f"copy-before-install: {_share(sum(item.repaired for item in late), len(late))} repaired")
    for language in LANGUAGES:
        whole = [item for item in outcomes if item.language == language]
        print(f"one stage that builds {language}: {_share(sum(item.split for item in whole), len(whole))} split")
    silent = [
        item
        for item in outcomes
        if ((item.late_install and not item.repaired) or (item.language and not item.split))
        and not item.refused
        and not item.broken
    ]
    print(f"left alone without a reason: {len(silent)}")
    defects = [(item.path, text) for item in outcomes for text in item.defects]
    defects += [(path, text) for path, texts in (new or {}).items() for text in texts]
    print(f"defects: {len(defects)}" + ("" if new is not None else " (BuildKit's checks not run: --check)"))
    for path, text in defects:
        print(f"  {path.relative_to(folder)}: {text}")
    if show:
        _show(outcomes, folder)
    return len(defects)


def _show(outcomes: Sequence[Outcome], folder: Path) -> None:
    reasons = Counter((name, _plain(reason)) for item in outcomes for name, _, reason in item.refused)
    print("\nreasons:")
    for (name, reason), count in reasons.most_common():
        print(f"  {count:5} {name}: {reason}")
    print("\nnot repaired, not split:")
    for item in outcomes:
        if (item.late_install and not item.repaired) or (item.language and not item.split):
            words = "; ".join(f"{line}: {reason} ({name})" for name, line, reason in item.refused)
            print(f"  {item.path.relative_to(folder)}: {words or 'no reason given'}")


def _plain(reason: str) -> str:
    return re.sub(r"`[^`]*`|\S*[/$]\S*", "…", reason)[:100]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f" ({100 * part / whole:.0f} %)" if whole else "")


def main() -> int:
    """Rewrite, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument(
        "--all", action="store_true", help="every file is a Dockerfile, whatever its name, without context"
    )
    parser.add_argument("--check", action="store_true", help="ask BuildKit's checks on a private engine")
    parser.add_argument("--show", action="store_true", help="list the reasons, and what was neither repaired nor split")
    parser.add_argument("--no-context", action="store_true", help="as if the files had no build context")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    folder = (arguments.folder or ROOT).resolve()
    if arguments.folder is None:
        files = [path for name in ("fixtures/passes", "dockerfiles") for path in dockerfiles(folder / name)[0]]
        context = True
    else:
        files, context = dockerfiles(folder, everything=arguments.all)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        work = partial(examine, context=context and not arguments.no_context)
        outcomes = list(pool.map(work, files, chunksize=8))
    changed = [item for item in outcomes if item.before != item.after]
    new = check(changed) if arguments.check else None
    return 1 if report(outcomes, new, folder, show=arguments.show) else 0


if __name__ == "__main__":
    sys.exit(main())
