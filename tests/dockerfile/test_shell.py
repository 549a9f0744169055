"""RUN bodies into commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildopt.dockerfile.shell import parse_shell, unquote


def names(text: str) -> list[str | None]:
    return [command.name for command in parse_shell(text).commands]


def test_chain_with_operators_spans_and_assignments() -> None:
    text = "set -e; apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y curl >/dev/null 2>&1 || true"
    script = parse_shell(text)
    assert script.complete
    assert [(command.name, command.operator) for command in script.commands] == [
        ("set", ";"),
        ("apt-get", "&&"),
        ("apt-get", "||"),
        ("true", ""),
    ]
    install = script.commands[2]
    assert text[install.span.start : install.span.end].startswith("DEBIAN_FRONTEND")
    assert text[install.span.start : install.span.end].endswith("2>&1")
    assert [(item.name, item.value.text) for item in install.environment] == [("DEBIAN_FRONTEND", "noninteractive")]
    assert [(item.descriptor, item.operator) for item in install.redirects] == [("", ">"), ("2", ">&")]
    assert install.texts == ("install", "-y", "curl")
    assert install.operator_span is not None
    assert text[install.operator_span.start : install.operator_span.end] == "||"


@pytest.mark.parametrize(
    ("raw", "text", "glob"),
    [
        ("abc", "abc", False),
        ("'a b'", "a b", False),
        ('"a b"c', "a bc", False),
        (r"c\ d", "c d", False),
        (r'"a\"b\n"', r'a"b\n', False),
        ("$x", None, False),
        ('"${x}"', None, False),
        ("`ls`", None, False),
        ("$(ls)", None, False),
        ("'$x'", "$x", False),
        ('"$"', "$", False),
        (r"\$x", "$x", False),
        ("/tmp/*", "/tmp/*", True),
        ("'/tmp/*'", "/tmp/*", False),
        ("{a,b}", "{a,b}", True),
        ("$'a b'", "a b", False),
        (r"$'a\n'", None, False),
    ],
)
def test_quote_removal(raw: str, text: str | None, glob: bool) -> None:
    assert unquote(raw) == (text, glob)


@pytest.mark.parametrize(
    ("text", "name", "wrappers"),
    [
        ("sudo apt-get update", "apt-get", ("sudo",)),
        ("sudo -E -u root env A=b X='c d' /usr/bin/apt-get update", "apt-get", ("sudo", "env")),
        ("exec -a x foo", "foo", ("exec",)),
        ("time -p foo", "foo", ("time",)),
        ("timeout -k 5 300 foo", "foo", ("timeout",)),
        ("command -v foo", "command", ()),
        ("sudo -l", "sudo", ()),
        ("xargs -n 1 apt-get install", "apt-get", ("xargs",)),
        ("gosu node npm ci", "npm", ("gosu",)),
        ("$SUDO apt-get update", None, ()),
    ],
)
def test_wrappers_are_seen_through(text: str, name: str | None, wrappers: tuple[str, ...]) -> None:
    command = parse_shell(text).commands[0]
    assert (command.name, command.wrappers) == (name, wrappers)


def test_wrapper_assignments_are_environment() -> None:
    command = parse_shell("A=1 env B=2 C='x y' npm ci").commands[0]
    assert [(item.name, item.value.text) for item in command.environment] == [("A", "1"), ("B", "2"), ("C", "x y")]


def test_contexts() -> None:
    text = "if a; then b; elif c; then d; fi; for i in 1; do e; done; (f && g); { h; }; i() { j; }; k $(l); ! m"
    assert [(command.name, command.context) for command in parse_shell(text).commands] == [
        ("a", ("if", "condition")),
        ("b", ("if",)),
        ("c", ("if", "if", "condition")),
        ("d", ("if", "if")),
        ("e", ("loop",)),
        ("f", ("subshell",)),
        ("g", ("subshell",)),
        ("h", ("group",)),
        ("j", ("function", "group")),
        ("k", ()),
        ("l", ("substitution",)),
        ("m", ()),
    ]
    assert parse_shell(text).commands[-1].negated


def test_parts_are_the_top_level_chain() -> None:
    text = "a && (b; c) >log | d; e 2>f"
    script = parse_shell(text)
    assert [(text[part.span.start : part.span.end], part.operator) for part in script.parts] == [
        ("a", "&&"),
        ("(b; c) >log", "|"),
        ("d", ";"),
        ("e 2>f", ""),
    ]
    assert [part.command is None for part in script.parts] == [False, True, False, False]
    assert [command.name for command in script.parts[1].commands] == ["b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "sh -c 'apt-get update && apt-get install -y x'",
        'bash -euxo pipefail -c "apt-get update && apt-get install -y x"',
        "su -c 'apt-get update && apt-get install -y x' bob",
    ],
)
def test_inner_shells_are_parsed_with_spans(text: str) -> None:
    inner = parse_shell(text).commands[1:]
    assert [text[command.span.start : command.span.end] for command in inner] == [
        "apt-get update",
        "apt-get install -y x",
    ]
    assert {command.context for command in inner} == {("sh -c",)}


def test_inner_shell_behind_escapes_keeps_its_commands() -> None:
    text = r'bash -c "apt install \"x y\" && rm y"'
    inner = parse_shell(text).commands[1:]
    assert [command.texts for command in inner] == [("install", "x y"), ("y",)]
    assert all(text[command.span.start : command.span.end].startswith('"') for command in inner)


def test_spans_are_characters_not_bytes() -> None:
    text = "echo é 💥 && pip install ü"
    command = parse_shell(text).commands[1]
    assert text[command.span.start : command.span.end] == "pip install ü"
    broken = "echo \udcff && pip install x"
    command = parse_shell(broken).commands[1]
    assert broken[command.span.start : command.span.end] == "pip install x"


def test_heredocs() -> None:
    text = "cat <<EOF > /z\nhello $(date)\nEOF\nfoo"
    script = parse_shell(text)
    assert names(text) == ["cat", "date", "foo"]
    assert text[script.parts[0].span.start : script.parts[0].span.end].endswith("EOF")
    assert [item.operator for item in script.commands[0].redirects] == ["<<", ">"]


def test_newlines_and_comments() -> None:
    text = "# first\na\nb # last\nc"
    script = parse_shell(text)
    assert [(command.name, command.operator) for command in script.commands] == [("a", "\n"), ("b", "\n"), ("c", "")]
    assert [text[span.start : span.end] for span in script.comments] == ["# first", "# last"]


@pytest.mark.parametrize("text", ["a &&", "if a; then", "a 'b", "((((", "a && && b", "cat <<EOF && b\nx\nEOF\n"])
def test_what_is_not_understood_is_marked(text: str) -> None:
    assert not parse_shell(text).complete


def test_long_and_deep_texts_do_not_end_it() -> None:
    assert len(parse_shell("a" + " && b" * 3000).commands) == 3001
    parse_shell("(" * 5000)
    parse_shell("$(" * 5000 + ")" * 5000)


@given(st.text(alphabet="ab$(){}[]'\"`\\;&|<>\n #=!*é", max_size=60))
def test_never_raises_and_spans_fit(text: str) -> None:
    script = parse_shell(text)
    for command in script.commands:
        assert 0 <= command.span.start <= command.span.end <= len(text)
        for word in command.words:
            assert 0 <= word.span.start <= word.span.end <= len(text)
        assert command.argv is not None
    ends = [part.span.end for part in script.parts]
    assert ends == sorted(ends) or not script.complete
