"""What steps depend on, for one platform."""

from __future__ import annotations

from buildopt.build import inputs
from buildopt.build.buildx import redactor
from buildopt.build.context_files import Selection
from buildopt.build.inputs import MAIN, Inputs, Planned
from buildopt.build.variables import Outside
from buildopt.dockerfile.parse import parse
from buildopt.source import Source


def read(text: str, platform: str = "linux/amd64", contexts: dict[str, str] | None = None, **arguments: str) -> Inputs:
    dockerfile = parse(Source("Dockerfile", text))
    assert not dockerfile.errors, dockerfile.errors
    outside = Outside(arguments, b"salt", redactor([value for value in arguments.values() if len(value) > 10]))
    settings = inputs.Settings(outside, contexts or {}, native="linux/amd64")
    return inputs.inputs(dockerfile, settings, platform)


def last(text: str, platform: str = "linux/amd64", **arguments: str) -> Planned:
    return read(text, platform, None, **arguments).steps[-1]


def values(step: Planned) -> dict[str, str]:
    return {entry.name: entry.value for entry in step.variables}


def test_steps_are_numbered_as_buildkit_does() -> None:
    found = read(
        "FROM debian AS a\nRUN x\nWORKDIR /\nENV A=1\nWORKDIR /w\nCOPY a b\nFROM scratch\nCOPY a b\nFROM a\nRUN y\n"
    )
    assert [(step.stage, step.number, step.keyword) for step in found.steps] == [
        *[("a", 2, "RUN"), ("a", 3, "WORKDIR"), ("a", 4, "COPY"), ("stage-1", 1, "COPY"), ("stage-2", 1, "RUN")]
    ]
    assert read("FROM debian\nRUN x\n").steps[0].stage == ""


def test_run_sees_arguments_and_environment() -> None:
    text = "ARG G=1\nFROM debian\nARG G\nARG A=a\nARG NONE\nARG B=$A$G\nENV A=env\nENV C=$B D=$C\nRUN x\n"
    assert values(last(text)) == {"G": "1", "A": "env", "B": "a1", "C": "a1", "D": ""}
    given = last(text, G="2", A="given", NONE="now", UNDECLARED="x")
    assert values(given) == {"G": "2", "A": "env", "B": "given2", "C": "given2", "D": "", "NONE": "now"}
    assert {entry.name: entry.arguments for entry in given.variables}["C"] == ("A", "G")


def test_platform_arguments_are_known_where_they_are_declared() -> None:
    text = "FROM debian\nARG TARGETARCH\nARG TARGETVARIANT\nRUN x\n"
    assert values(last(text, "linux/arm/v7")) == {"TARGETARCH": "arm", "TARGETVARIANT": "v7"}
    assert values(last("FROM debian\nRUN x\n")) == {}


def test_a_stage_goes_on_where_its_base_ended() -> None:
    text = 'FROM debian AS a\nARG A=1\nENV E=1\nUSER me\nWORKDIR /w\nSHELL ["sh", "-x"]\nFROM a\nWORKDIR in\nRUN x\n'
    step = last(text)
    assert values(step) == {"A": "1", "E": "1"}
    assert step.parts["user"] == "me" and step.parts["workdir"] == "/w/in" and step.parts["shell"] == '["sh", "-x"]'


def test_comments_and_blanks_do_not_count() -> None:
    plain = last("FROM debian\nCOPY --chown=1 a b /c/\n")
    odd = last("FROM debian\n# note\ncopy   --chown=1   a \\\n # note\n  b   /c/ \n")
    assert plain.parts == odd.parts and plain.reads == odd.reads
    assert last("FROM debian\nRUN a  b\n").parts != last("FROM debian\nRUN a b\n").parts


def test_copy_reads_files_of_the_context() -> None:
    assert last("FROM debian\nARG D=src\nCOPY --exclude=*.md $D/a b /x/\n").reads == (
        (MAIN, Selection(("src/a", "b"), ("*.md",))),
    )
    assert last("FROM debian AS a\nFROM a\nCOPY --from=a /x /y\n").reads == ()
    assert last("FROM debian\nADD https://example.org/x a /y/\n").reads == ((MAIN, Selection(("a",))),)
    assert last("FROM debian\nCOPY <<EOF <<'B' c /y/\n$A\nEOF\nb\nB\n").reads == ((MAIN, Selection(("c",))),)


def test_named_contexts_are_read_by_name() -> None:
    text = "FROM debian\nCOPY --from=Extra a /y\n"
    assert read(text, contexts={"extra": "/"}).steps[-1].reads == (("extra", Selection(("a",))),)
    other = read(text, contexts={"extra": "docker-image://debian"}).steps[-1]
    assert read("FROM extra\nRUN a\nRUN b\n", contexts={"extra": "/"}).steps[0].reads == (("extra", Selection((".",))),)
    assert other.reads == () and other.parts["context extra"] == "docker-image://debian"


def test_mounts_read_files_too() -> None:
    step = last(
        "FROM debian AS a\nFROM debian\nRUN --mount=target=/m,source=in --mount=type=bind,from=a,target=/n"
        " --mount=type=cache,target=/c --mount=target=/all --mount=type=secret,id=x y\n"
    )
    assert step.reads == ((MAIN, Selection(("in",))), (MAIN, Selection((".",))))


def test_heredocs_are_expanded_as_files_and_left_to_the_shell() -> None:
    assert "v=1" in last("FROM debian\nARG V=1\nCOPY <<EOF /x\nv=$V\nEOF\n").parts["instruction"]
    assert "v=$V" in last("FROM debian\nARG V=1\nCOPY <<'EOF' /x\nv=$V\nEOF\n").parts["instruction"]
    assert "v=$V" in last("FROM debian\nARG V=1\nRUN <<EOF\nv=$V\nEOF\n").parts["instruction"]


def test_secrets_are_hashed_wherever_they_come_to() -> None:
    secret = "correct-horse-battery"
    text = (
        "FROM debian\nARG NPM_TOKEN\nARG API_KEY=in-the-file\nENV HEADER=x$NPM_TOKEN\nWORKDIR /$NPM_TOKEN\n"
        "COPY $NPM_TOKEN /$HEADER/\nRUN use $NPM_TOKEN correct-horse-battery\n"
    )
    for step in read(text, NPM_TOKEN=secret).steps:
        assert secret not in repr((step.parts, step.variables, step.text)) and "in-the-file" not in repr(step.variables)
    step = last(text, NPM_TOKEN=secret)
    assert values(step)["NPM_TOKEN"].startswith("#") and values(step)["HEADER"].startswith("#")
    assert values(step)["NPM_TOKEN"] != values(last(text, NPM_TOKEN="other-horse-battery"))["NPM_TOKEN"]
    assert [entry.definition for entry in step.variables if entry.name == "API_KEY"] == ["ARG API_KEY=***"]
    assert inputs.masked_text(parse(Source("Dockerfile", text))).splitlines()[2] == "ARG API_KEY=***"
    # The files are those that BuildKit copies.
    assert read(text, NPM_TOKEN=secret).steps[1].reads == ((MAIN, Selection((secret,))),)


def test_the_epoch_counts_for_working_folders_alone() -> None:
    text = "FROM debian\nWORKDIR /w\nCOPY a b\n"
    first, second = read(text, SOURCE_DATE_EPOCH="1").steps
    assert first.parts["epoch"] == "1" and "epoch" not in second.parts


def test_a_stage_may_be_of_another_platform() -> None:
    text = "FROM --platform=$BUILDPLATFORM debian AS a\nRUN x\nFROM a\nRUN y\nFROM debian\nRUN z\n"
    steps = read(text, "linux/arm64").steps
    assert [step.parts.get("platform") for step in steps] == ["linux/amd64", "linux/amd64", None]
