"""Words and variables: every form of expansion, as BuildKit's own tests and a shell have them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildopt.dockerfile.words import Lexing, expand, split_words

VARIABLES = {"A": "hello", "E": "", "P": "/usr/local/bin/tool.tar.gz"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A ${A} $A.x ${A}x $Ax", "hello hello hello.x hellox "),
        ("${A:-x} ${E:-x} ${N:-x}", "hello x x"),
        ("${A-x} ${E-x} ${N-x}", "hello  x"),
        ("${A:+x} ${E:+x} ${N:+x}", "x  "),
        ("${A+x} ${E+x} ${N+x}", "x x "),
        ("${A:?m} ${A?m} ${E?m}", "hello hello "),
        ("${P#*/} ${P##*/}", "usr/local/bin/tool.tar.gz tool.tar.gz"),
        ("${P%.*} ${P%%.*}", "/usr/local/bin/tool.tar /usr/local/bin/tool"),
        ("${P#x} ${P%x} ${A#h?l} ${A%l?}", "/usr/local/bin/tool.tar.gz /usr/local/bin/tool.tar.gz lo hel"),
        ("${A/l/L} ${A//l/L} ${A/x/y} ${A//l/}", "heLlo heLLo hello heo"),
        ("${P//\\//_} ${A/l*/p}", "_usr_local_bin_tool.tar.gz hep"),
        ("${N:-${A}} ${N:-$A-${E:-z}}", "hello hello-z"),
        ('\'$A\' "$A" \\$A "\\$A" "\'$A\'"', "$A hello $A $A 'hello'"),
        ("a\\ b 'c d' \"e\\f\"", "a b c d e\\f"),
        ("$ $$ $1x ${1}", "$  x "),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    result = expand(text, VARIABLES)
    assert (result.text, result.error) == (expected, None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("${N:?need it}", "N: need it"),
        ("${N?}", "N: is not allowed to be unset"),
        ("${E:?}", "E: is not allowed to be empty"),
        ("${A", "unsupported modifier (\ufffd) in substitution"),
        ("${", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${A:-x", "syntax error: missing '}'"),
        ("${A/x", "syntax error: missing '/' in ${}"),
        ("${A*x}", "unsupported modifier (*) in substitution"),
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
    ],
)
def test_errors_are_data(text: str, error: str) -> None:
    result = expand(text, VARIABLES)
    assert (result.error, result.text, result.words) == (error, "", ())


def test_words_know_their_places_and_variables_are_split_unless_quoted() -> None:
    text = "a  'b c' $X \"$X\""
    result = expand(text, {"X": "1 2"})
    assert result.words == ("a", "b c", "1", "2", "1 2")
    assert [text[start:end] for start, end in result.places][:2] == ["a", "'b c'"]
    assert result.used == {"X"} and result.missing == set()


def test_the_escape_character_can_be_a_backtick() -> None:
    assert expand("`$A C:\\x", VARIABLES, "`").text == "$A C:\\x"


def test_unset_variables_can_be_kept() -> None:
    kept = Lexing(keep_unset=True, raw_quotes=True)
    assert expand("$N ${N} ${N:-x} '$N' ${N/a/b}", {}, "\\", kept).text == "$N ${N} ${N:-x} '$N' ${N/a/b}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=b c='d e' f=\"g h\"", ["a=b", "c='d e'", 'f="g h"']),
        ("a=b\\ c d\\", ["a=b\\ c", "d"]),
        ("a='b c", ["a='b c"]),
        ('a="b\\', ['a="b']),
        ("'a\\' b", ["'a\\'", "b"]),
        ("", []),
    ],
)
def test_splitting_keeps_quotes(text: str, words: list[str]) -> None:
    found = split_words(text, "\\")
    assert [word for word, _, _ in found] == words
    assert all(text[start:end].startswith(word) for word, start, end in found)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet="aA$\\{}:-+?#%/*'\"` \té", max_size=60))
def test_nothing_raises_and_words_lie_in_order(text: str) -> None:
    result = expand(text, VARIABLES)
    assert (result.error is None) or result.words == ()
    assert list(result.places) == sorted(result.places)
    assert all(0 <= start <= end <= len(text) for start, end in result.places)
    split_words(text, "\\")


@pytest.mark.parametrize("text", ["${A:-" * 50000, "${P#" + "*a" * 20000 + "}", "$A" * 50000, '"' + "\\" * 50000])
def test_hostile_texts_take_little_time(text: str) -> None:
    started = time.monotonic()
    expand(text, {"A": "x", "P": "a" * 20000})
    assert time.monotonic() - started < 10
