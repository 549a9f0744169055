"""The parser: agreement with BuildKit's own, spans, heredocs, problems, stages, and that nothing makes it raise."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle import comparable, disagreement_of_text, knows_directives

from buildopt.dockerfile.model import KEYWORDS, Dockerfile
from buildopt.dockerfile.parse import parse
from buildopt.source import Source

FIXTURES = Path(__file__).parents[2] / "fixtures"


def read(text: str) -> Dockerfile:
    return parse(Source("Dockerfile", text))


def assert_agrees(text: str) -> None:
    pytest.importorskip("dockerfile")
    difference = disagreement_of_text(text)
    if difference is not None:
        ours, theirs = difference
        assert ours == theirs


def assert_lossless(dockerfile: Dockerfile) -> None:
    """Every logical text is the source at its pieces, and spans hold what they say."""
    text = dockerfile.source.text
    position = 0
    for found in dockerfile.instructions:
        assert position <= found.span.start <= found.span.end <= len(text)
        assert "".join(text[piece.start : piece.end] for piece in found.logical.pieces()) == found.logical.text
        assert "".join(text[piece.start : piece.end] for piece in found.arguments.pieces()) == found.arguments.text
        typed = text[found.keyword_span.start : found.keyword_span.end]
        assert typed.upper() == found.keyword or "\n" in typed  # a continuation may stand inside a keyword
        for flag in found.flags:
            assert text[flag.span.start : flag.span.end].startswith("--")
        for offset in range(0, len(found.logical.text), 7):
            assert text[found.logical.offset(offset)] == found.logical.text[offset]
        position = found.span.end
    instructions = {line for found in dockerfile.instructions for line in range(found.lines[0], found.lines[1] + 1)}
    comments = {dockerfile.source.position(comment.span.start)[0] for comment in dockerfile.comments}
    for number, line in enumerate(text.split("\n"), 1):
        # A line is part of an instruction, a comment, or blank: nothing gets lost.
        assert number in instructions or number in comments or not line.strip(" \t\v\f\r\x85\xa0\u2003\ufeff")


FRAGMENTS = [
    *(f"{keyword} " for keyword in KEYWORDS),
    *(
        "foo ",
        "run ",
        "oNbUild ",
        "\n",
        "\n",
        "\n",
        "\\\n",
        "\\\n",
        "\\ \n",
        "\\\t\n",
        "\\\\\n",
        "`\n",
        "\r\n",
        "\\\r\n",
    ),
    *(
        "# c\n",
        " # x\n",
        "#\n",
        "# escape=`\n",
        "# syntax=a\n",
        "#escape=\\\n",
        "<<E",
        "<<-E",
        "<<'E'",
        '<<"E F"',
        "3<<E",
    ),
    *(
        "<<E\n",
        "\nE\n",
        "E\n",
        "\tE\n",
        "E",
        "E F\n",
        '["a"',
        "]",
        ", ",
        '"a"',
        "[",
        "'a'",
        '"',
        "'",
        '\\"',
        "\\'",
        "\\",
    ),
    *(
        "=",
        "a=b",
        "a",
        "b c",
        "  ",
        "\t",
        "\v",
        "\f",
        "--",
        "--x",
        "--x=y",
        '--x="y z"',
        "--x='y\\",
        "$A",
        "${A}",
        "${A:-b}",
    ),
    *(
        "${",
        "}",
        "$",
        "é",
        "\u2003",
        "\x1c",
        "1",
        "null",
        "{}",
        "NONE",
        "&&",
        ";",
        "|",
        " AS ",
        " as x",
        "\r",
        "~",
        "<",
        ">",
    ),
]


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=40).map("".join).filter(comparable))
@example("\ufeff# escape=`\nFROM a\nRUN a `\n# c\n\n b\n")
@example("RUN <<E cat <<-'F' <<\"G\"\n1\nE\n\t2\n\tF\n3\nG\nRUN x")
@example("RUN a <<E\\\n && c\nx\nE\n")
@example("RUN <<E\r\nfoo\r\nE\r\nRUN a\r\n")
@example("ENV a='b c' d=\"e f\" g=h\\ i j=\\")
@example("COPY --from=a --  a b\n")
@example('HEALTHCHECK --interval=5s CMD ["a"]\n')
@example('RUN "<<E" b\nE')
@example("\\\nRUN a \\")
def test_agrees_with_buildkit_on_generated_files(text: str) -> None:
    assert_agrees(text)


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.rglob("*Dockerfile")), ids=lambda path: str(path.relative_to(FIXTURES))
)
def test_agrees_with_buildkit_on_every_fixture(path: Path) -> None:
    if path.is_file():
        text = path.read_bytes().decode()
        if knows_directives(text):
            assert_agrees(text)
        assert_lossless(read(text))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.binary(max_size=400)
    | st.lists(st.sampled_from(FRAGMENTS), max_size=60).map(lambda parts: "".join(parts).encode())
)
def test_any_bytes_are_read_without_loss(data: bytes) -> None:
    source = Source.from_bytes("Dockerfile", data)
    dockerfile = parse(source)
    assert dockerfile.source.to_bytes() == data
    assert dockerfile.instructions or dockerfile.errors
    for found in dockerfile.instructions:
        spans = [*found.logical.pieces(), found.span, found.keyword_span, *(word.span for word in found.words)]
        assert all(0 <= span.start <= span.end <= len(source.text) for span in spans)


@pytest.mark.parametrize("seed", range(40))
def test_fragments_are_read_without_loss(seed: int) -> None:
    dice = random.Random(seed)
    assert_lossless(read("".join(dice.choice(FRAGMENTS) for _ in range(dice.randint(1, 60)))))


LARGE = {
    "continuations": "FROM a\nRUN a" + " \\\n  b" * 60000,
    "instructions": "FROM a\n" + "RUN a b c\n" * 10000,
    "brackets": "FROM a\nCMD " + "[" * 60000,
    "nested variables": "FROM a\nRUN <<E " + "${a:-\\\n" * 60000,
    "heredocs": "FROM a\nRUN" + " <<E" * 8000 + "\n" + "E\n" * 8000,
    "heredocs without an end": "FROM a\n" + "RUN <<E\n" * 30000,
    "shifts": "FROM a\n" + "RUN a << E\n" * 8000,
    "triggers": "ONBUILD \\\n" * 60000,
    "pairs": "FROM a\nENV " + "a=b \\\n" * 30000,
    "quotes": "FROM a\nENV " + "'\"\\\n" * 60000,
    "blanks": "RUN " + " " * 2000000,
    "flags": "RUN " + "--a=b \\\n" * 20000,
    "stages": "".join(f"FROM a{number} AS a{number + 1}\n" for number in range(10000)),
    "comments": "RUN a \\\n" + "# x\n" * 60000,
}


@pytest.mark.parametrize("name", LARGE)
def test_large_files_take_linear_time(name: str) -> None:
    started = time.monotonic()
    read(LARGE[name])
    # Half a second at most here; what is not linear takes minutes.
    assert time.monotonic() - started < 20


def test_all_comments_since_the_last_instruction_belong_to_one() -> None:
    text = "# syntax=x\n# head\n#\nFROM a\n#\n# why\n\n  # still\n#\nRUN b \\\n  #\n  # in\n  c\n# end\n"
    dockerfile = read(text)
    comments = [[comment.text for comment in item.comments] for item in dockerfile.instructions]
    assert comments == [["head", ""], ["", "why", "still", "", "", "in"]]
    spans = [comment.span for comment in dockerfile.instructions[1].comments]
    assert [text[span.start : span.end] for span in spans] == ["#", "# why", "# still", "#", "#", "# in"]


def test_spans_lead_through_continuations_and_comments() -> None:
    text = "FROM a\nRUN --mount=type=cache,target=/x first \\\n  # why\n\n  second && \\\n  third\n"
    found = read(text).instructions[1]
    assert found.arguments.text == "first   second &&   third"
    start = found.arguments.text.index("second")
    span = found.arguments.span(start, start + len("second"))
    assert text[span.start : span.end] == "second"
    whole = found.arguments.span(0, len(found.arguments.text))
    assert text[whole.start : whole.end].startswith("first") and text[whole.start : whole.end].endswith("third")
    assert found.lines == (2, 6)
    assert [comment.text for comment in found.comments] == ["why"]
    assert len(found.blanks) == 1
    (flag,) = found.flags
    assert flag.value_span is not None
    assert text[flag.value_span.start : flag.value_span.end] == "type=cache,target=/x"


def test_an_insertion_behind_a_word_stays_before_its_continuation() -> None:
    text = "FROM a\nRUN apt-get install\\\n curl\n"
    logical = read(text).instructions[1].arguments
    end = logical.text.index("install") + len("install")
    assert text[: logical.span(end, end).start].endswith("install")


def test_heredocs_have_bodies_and_terminators() -> None:
    text = "FROM a\nRUN <<-ONE cat <<'TWO' >/x\n\techo 1\n\tONE\n$x\nTWO\n"
    one, two = read(text).instructions[1].heredocs
    assert (one.name, one.expand, one.chomp, one.body.text) == ("ONE", True, True, "echo 1\n")
    assert (two.name, two.expand, two.chomp, two.body.text) == ("TWO", False, False, "$x\n")
    assert text[one.operator.start : one.operator.end] == "<<-ONE"
    assert text[two.terminator.start : two.terminator.end] == "TWO"
    assert text[one.body.offset(0)] == "e"


def test_a_lone_heredoc_is_the_script_others_follow_their_command() -> None:
    dockerfile = read("FROM a\nRUN <<E\necho 1\nE\nRUN cat <<E > /x\nbody\nE\n")
    lone, fed = dockerfile.instructions[1:]
    assert lone.lone_heredoc is not None and fed.lone_heredoc is None
    script, other = lone.script(dockerfile.source), fed.script(dockerfile.source)
    assert script is not None and script.text == "echo 1\n"
    assert other is not None and other.text == "cat <<E > /x\nbody\nE"


def test_a_shift_is_no_heredoc_but_blanks_before_a_name_are_allowed() -> None:
    assert read("FROM a\nRUN echo $((1 << 2))\nUSER b\n").instructions[2].keyword == "USER"
    found = read("FROM a\nRUN cat << EOF\nx\nEOF\nUSER b\n").instructions
    assert found[1].heredocs[0].body.text == "x\n" and found[2].keyword == "USER"


def test_directives_only_at_the_very_top() -> None:
    dockerfile = read(
        "# syntax=docker/dockerfile:1\n# Escape = `\n# check=skip=all\n# escape=\\\nFROM a\nRUN b `\n c\n"
    )
    assert [(item.name, item.value) for item in dockerfile.directives[:3]] == [
        ("syntax", "docker/dockerfile:1"),
        ("escape", "`"),
        ("check", "skip=all"),
    ]
    assert [problem.message for problem in dockerfile.errors] == ["only one escape parser directive can be used"]
    assert dockerfile.instructions[1].arguments.text == "b  c"
    assert read("#\n# escape=`\nFROM a").directives == ()


INVALID_NAME = 'invalid name for build stage: "1x", name can\'t start with a number or contain symbols'


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("", "file with no instructions", (1, 1)),
        ("# only\n", "file with no instructions", (1, 1)),
        ("ARG a\n", "dockerfile contains no stages to build", (2, 1)),
        ("RUN a\n", "no build stage in current context", (1, 1)),
        ("FROM a\nCOPYY a b", "unknown instruction: COPYY (did you mean COPY?)", (2, 1)),
        ("FROM a\nRUN <<E\nx", "unterminated heredoc", (2, 5)),
        ("FROM a AS 1x", INVALID_NAME, (1, 11)),
        ("FROM a b", "FROM requires either one or three arguments", (1, 1)),
        ("FROM Ubuntu", 'failed to parse stage name "Ubuntu": invalid reference format: '
         "repository name (library/Ubuntu) must be lowercase", (1, 6)),
        ("FROM a\nCOPY --link=maybe a b", "expecting boolean value for flag link, not: maybe", (2, 6)),
        ("FROM a\nCOPY --from=a --from=b a b", "duplicate flag specified: from", (2, 15)),
        ("FROM a\nCOPY --from a b", "missing a value on flag: from", (2, 6)),
        ("FROM a\nCOPY a <<E\nE", "COPY cannot accept a heredoc as a destination", (2, 8)),
        ("FROM a\nONBUILD FROM b", "FROM isn't allowed as an ONBUILD trigger", (2, 9)),
        ("FROM a\nHEALTHCHECK --interval=5 CMD a", 'time: invalid duration "5"', (2, 13)),
        ("FROM a\nHEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD", (2, 13)),
        ("FROM a\nENV =b", "ENV names can not be blank", (2, 5)),
        ("FROM a\nRUN " + "x" * 65536, "dockerfile line greater than max allowed size of 65535", (2, 1)),
    ],
)  # fmt: skip
def test_problems_have_buildkits_words_and_a_place(text: str, message: str, place: tuple[int, int]) -> None:
    dockerfile = read(text)
    assert [problem.message for problem in dockerfile.errors] == [message]
    assert dockerfile.source.position(dockerfile.errors[0].span.start) == place


@pytest.mark.parametrize(
    ("arguments", "exec_form"),
    [
        ('["a"]', True),
        ('[ "a" , "b" ] \t', True),
        ("[]", True),
        ('["a"] trailing', False),
        ('["a"]]', False),
        ('["a"] # c', False),
        ('["a"] \\\n x', False),
        ('["a",]', False),
        ('["a" "b"]', False),
        ("['a']", False),
    ],
)
def test_only_a_whole_json_array_is_an_exec_form(arguments: str, exec_form: bool) -> None:
    assert read(f"FROM a\nCMD {arguments}\n").instructions[1].exec_form == exec_form


def test_a_binary_file_is_one_problem() -> None:
    assert len(parse(Source.from_bytes("x", b"\x7fELF\x00\x01\nfoo\nbar\n" * 50)).errors) == 1


def test_one_broken_instruction_leaves_the_others_whole() -> None:
    dockerfile = read("FROM a\nENV\nRUN b\nUNKNOWN x\nUSER c\n")
    assert [found.keyword for found in dockerfile.instructions if not found.problems] == ["FROM", "RUN", "USER"]


def test_stages_by_name_and_index() -> None:
    dockerfile = read("ARG V=1\nFROM a:$V AS Build\nFROM build\nFROM --platform=linux/arm64 build AS last\n")
    assert [stage.base_index for stage in dockerfile.stages] == [None, 0, 0]
    assert dockerfile.stage("BUILD") is dockerfile.stages[0]
    assert dockerfile.stage("1") is dockerfile.stages[1]
    assert dockerfile.stage("last", before=2) is None
    assert dockerfile.stage("7") is None
    assert dockerfile.final_stage is not None and dockerfile.final_stage.name == "last"
    assert dockerfile.final_stage.platform is not None and dockerfile.final_stage.platform.value == "linux/arm64"
    assert [found.keyword for found in dockerfile.global_args] == ["ARG"]
    assert dockerfile.stage_of(dockerfile.instructions[0]) is None


def test_onbuild_holds_its_instruction() -> None:
    text = "FROM a\nONBUILD COPY --from=b <<E /x\nbody\nE\n"
    trigger = read(text).instructions[1].trigger
    assert trigger is not None and trigger.keyword == "COPY"
    assert trigger.flags[0].value == "b" and trigger.heredocs[0].body.text == "body\n"
    assert text[trigger.span.start : trigger.span.end].startswith("COPY --from")


def test_exec_forms_have_words_with_places() -> None:
    text = 'FROM a\nCMD ["echo", \\\n  "a\\"b"]\n'
    found = read(text).instructions[1]
    assert found.exec_form and [word.text for word in found.words] == ["echo", 'a"b']
    assert text[found.words[1].span.start : found.words[1].span.end] == '"a\\"b"'
    assert not read("FROM a\nCMD ['a']").instructions[1].exec_form
