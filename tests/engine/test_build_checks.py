"""Our findings beside those of ``docker build --check``: the same checks on the same instructions of every fixture."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from build_checks import Answer, answers
from stub_registry import stub_registry

from buildopt.dockerfile.lint import lint
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.rules import RULES
from buildopt.engine import daemon
from buildopt.settings import LintSettings
from buildopt.source import Source

pytestmark = pytest.mark.engine

FIXTURES = Path(__file__).parents[2] / "fixtures"
FILES = sorted(
    path
    for folder in ("buildkit_checks", "dockerfile", "passes")
    for path in (FIXTURES / folder).rglob("*")
    if path.name == "Dockerfile" or path.suffix == ".Dockerfile"
)
CHECKS = (
    *("ConsistentInstructionCasing", "CopyIgnoredFile", "DuplicateStageName", "ExposeInvalidFormat"),
    *("ExposeProtoCasing", "FromAsCasing", "FromPlatformFlagConstDisallowed", "InvalidDefaultArgInFrom"),
    *("InvalidDefinitionDescription", "JSONArgsRecommended", "LegacyKeyValueFormat", "MaintainerDeprecated"),
    *("MultipleInstructionsDisallowed", "NoEmptyContinuation", "RedundantTargetPlatform", "ReservedStageName"),
    *("SecretsUsedInArgOrEnv", "StageNameCasing", "UndefinedArgInFrom", "UndefinedVar", "WorkdirRelativePath"),
)
# It compares an image with the platform that was asked for; our rules never see an image.
NOT_COMPARED = frozenset(("InvalidBaseImagePlatform",))
# BuildKit looks for these only where a file says `# check=experimental=…`.
EXPERIMENTAL = frozenset(("CopyIgnoredFile", "InvalidDefinitionDescription"))
_PRAGMA = re.compile(r"(#\s*)(hadolint|buildopt)(\s+(?:global\s+)?)ignore", re.IGNORECASE)


@dataclass(frozen=True)
class Difference:
    """Findings of BuildKit that ours are meant to lack, by patterns of the file's name and the instruction's text."""

    check: str
    file: str
    text: str
    why: str

    def excuses(self, check: str, file: str, text: str) -> bool:
        return check == self.check and bool(re.search(self.file, file) and re.search(self.text, text))


DIFFERENCES = (
    Difference(
        "UndefinedVar",
        "",
        r"\$\{?(APP_UID|GOPATH|HOME|HTTP_PROXY|\w+_VERSION)\b",
        "the image that the stub stands for defines it, or whoever builds",
    ),
    Difference("WorkdirRelativePath", "", r"^WORKDIR [A-Z]:", "with a drive it is absolute, on Windows"),
    Difference("CopyIgnoredFile", "", r"^COPY \. ", "the folder itself is copied, with what is let in again"),
    Difference("InvalidDefinitionDescription", "experimental_skipped", "", "what is skipped is skipped"),
)


@dataclass(frozen=True)
class Compared:
    """One file: which checks found something in which line (the first one of an instruction), and its lines."""

    buildkit: frozenset[tuple[str, int]]
    ours: frozenset[tuple[str, int]]
    refused: bool
    lines: tuple[str, ...]


@pytest.fixture(scope="module")
def engine_answers(
    tmp_path_factory: pytest.TempPathFactory, engine_downloads: Path
) -> Iterator[Callable[[list[Path]], Mapping[Path, Answer]]]:
    """Asks BuildKit about files. Its engine finds every base image in a registry of stubs."""
    folder = tmp_path_factory.mktemp("engine")
    with (
        stub_registry() as url,
        daemon.private_engine(folder, downloads=engine_downloads, registry_mirrors=(url,)) as engine,
    ):
        yield lambda files: answers(engine, files, tmp_path_factory.mktemp("copies"))


@pytest.fixture(scope="module")
def answered(engine_answers: Callable[[list[Path]], Mapping[Path, Answer]]) -> Mapping[Path, Answer]:
    """BuildKit's answers to all files."""
    return engine_answers(FILES)


@pytest.fixture(scope="module")
def compared(answered: Mapping[Path, Answer]) -> dict[str, Compared]:
    """Both sides of every file, by its path below the fixtures."""
    return {str(path.relative_to(FIXTURES)): compare(path, answer) for path, answer in answered.items()}


def compare(path: Path, answer: Answer) -> Compared:
    # BuildKit knows nothing of the comments that silence other linters.
    plain = _PRAGMA.sub(r"\1\2\3ignora", path.read_bytes().decode("utf-8", "surrogateescape"))
    source = Source(str(path), plain)
    dockerfile = parse(source)
    firsts = first_lines(dockerfile)
    theirs = {
        (warned.check, firsts.get(warned.line, warned.line))
        for warned in answer.warnings
        if warned.check not in NOT_COMPARED
    }
    ours = {
        (check, firsts.get(finding.start[0], finding.start[0]))
        for finding in lint(source, LintSettings(profile="strict"))
        for check in CHECKS
        if check in finding.aliases and (check not in EXPERIMENTAL or wanted(dockerfile, check))
    }
    return Compared(frozenset(theirs), frozenset(ours), answer.refused is not None, tuple(plain.splitlines()))


def wanted(dockerfile: Dockerfile, check: str) -> bool:
    """Whether a file asks for an experimental check."""
    directive = dockerfile.directive("check")
    asked = re.findall(r"experimental=([^;]*)", directive.value) if directive is not None else []
    return any(name.strip() in (check, "all") for names in asked for name in names.split(","))


def first_lines(dockerfile: Dockerfile) -> dict[int, int]:
    """The first line of the instruction that a line belongs to; comments belong to the one that they stand above."""
    found = {}
    for instruction in dockerfile.instructions:
        first, last = instruction.lines
        for comment in instruction.comments:
            found[dockerfile.source.position(comment.span.start)[0]] = first
        found.update(dict.fromkeys(range(first, last + 1), first))
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_finds_what_buildkit_finds(check: str, compared: dict[str, Compared]) -> None:
    missing, surplus = [], []
    used = set()
    for file, both in compared.items():
        theirs = {line for name, line in both.buildkit if name == check}
        ours = {line for name, line in both.ours if name == check}
        for line in sorted(theirs - ours):
            text = both.lines[line - 1]
            excuse = next((item for item in DIFFERENCES if item.excuses(check, file, text)), None)
            if excuse is None:
                missing.append(f"{file}:{line}: {text}")
            used.add(excuse)
        # Of a file that it refuses BuildKit says nothing more from there on.
        surplus += [f"{file}:{line}: {both.lines[line - 1]}" for line in sorted(ours - theirs) if not both.refused]
    assert (missing, surplus) == ([], []), "what only BuildKit finds, what only buildopt finds"
    assert used >= {item for item in DIFFERENCES if item.check == check}, "some of the table differ no more"


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_is_put_to_the_test(check: str, compared: dict[str, Compared]) -> None:
    assert any(name == check for both in compared.values() for name, _ in both.buildkit)
    assert sum(check in rule.ALIASES for rule in RULES) >= 1


def test_a_broken_file_is_broken_for_both(answered: Mapping[Path, Answer]) -> None:
    unseen = {
        str(path.relative_to(FIXTURES)): answer.refused
        for path, answer in answered.items()
        if answer.refused is None and parse(Source.read(path)).errors
    }
    assert unseen == {}


def test_lines_are_refused_or_taken_as_written_down(
    engine_answers: Callable[[list[Path]], Mapping[Path, Answer]], tmp_path: Path
) -> None:
    expected = {}
    # What is refused costs a call each: every third line has to do.
    for name, step in (("refused", 3), ("accepted", 1)):
        lines = [line for line in (FIXTURES / "refusals" / f"{name}.txt").read_text().split("\n")[1:] if line]
        for number, line in enumerate(lines[::step]):
            path = tmp_path / f"{name}{number}.Dockerfile"
            path.write_text(f"FROM debian:12\n{line}\n".replace("␤", "\n"))
            expected[path] = name == "refused"
    found = engine_answers(list(expected))
    wrong = [path.read_text() for path, refused in expected.items() if (found[path].refused is not None) != refused]
    assert wrong == []
