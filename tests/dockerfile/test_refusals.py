"""Instructions that BuildKit refuses, and near misses that it takes. tests/engine asks BuildKit itself about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.refusals import refusals
from buildopt.source import Source

FOLDER = Path(__file__).parents[2] / "fixtures" / "refusals"


def lines(name: str) -> list[str]:
    found = (FOLDER / name).read_text().split("\n")
    return [line.replace("␤", "\n") for line in found if line and not line.startswith("#")]


def messages(text: str) -> list[str]:
    dockerfile = parse(Source("Dockerfile", f"FROM debian:12\n{text}\n"))
    return [problem.message for problem in (*dockerfile.errors, *refusals(dockerfile))]


@pytest.mark.parametrize("line", lines("refused.txt"))
def test_what_buildkit_refuses_is_found(line: str) -> None:
    assert messages(line) != []


@pytest.mark.parametrize("line", lines("accepted.txt"))
def test_what_buildkit_takes_is_let_be(line: str) -> None:
    assert messages(line) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "ENV A=it's",
            'failed to process "it\'s": unexpected end of statement while looking for matching single-quote',
        ),
        ("COPY a ${B", 'failed to process "${B": unsupported modifier (\ufffd) in substitution'),
        ("RUN --network=bridge a", 'invalid network mode "bridge"'),
        ("RUN --mount=type=cache,target=/x,sharing=lock a", 'unsupported sharing value "lock"'),
        ("RUN --mount=type=cache,target=/x,private a", "invalid field 'private' must be a key=value pair"),
        ("COPY --chmod=999 a b", "invalid chmod parameter: '999'. it should be octal string and between 0 and 07777"),
        ("COPY https://example.com/a /", "source can't be a URL for COPY"),
        ("EXPOSE 80,81", "invalid containerPort: 80,81"),
        ("STOPSIGNAL SIGNONE", "invalid signal: SIGNONE"),
        ("HEALTHCHECK --interval=-5s CMD a", 'Interval "interval" cannot be less than 1ms'),
    ],
)
def test_messages_are_buildkits(line: str, message: str) -> None:
    assert messages(line) == [message]


def test_the_place_is_that_of_the_word_or_flag() -> None:
    text = "FROM debian:12\nENV A=b \\\n  C=it's\nRUN --mount=type=cache,target=/x --network=a b\n"
    dockerfile = parse(Source("Dockerfile", text))
    found = [text[problem.span.start : problem.span.end] for problem in refusals(dockerfile)]
    assert found == ["it's", "--network=a"]


def test_variables_are_let_be() -> None:
    text = (
        "EXPOSE $P/$Q\nSTOPSIGNAL $S\nRUN --mount=type=$T,target=$X,mode=$M a\nCOPY --chmod=$M a b\nENV A=${B:?needed}"
    )
    assert messages(text) == []
