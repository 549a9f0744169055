"""Markdown, read back by a renderer: what comes from a file stays text in its cell."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from lint_samples import HARM, finding, samples
from markdown_it import MarkdownIt
from markdown_it.token import Token

from buildopt.finding import Fix, Severity
from buildopt.report import markdown
from buildopt.report.markdown import code, findings_markdown, text
from buildopt.report.text import printable
from buildopt.source import Source

GOLDEN = Path(__file__).parents[2] / "fixtures" / "reports" / "samples.md"
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def rows(written: str) -> list[list[Token]]:
    """The cells of every row but the headings."""
    found: list[list[Token]] = []
    tokens = READER.parse(written)
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            found.append([])
        elif token.type == "td_open":
            found[-1].append(tokens[index + 1])
    return [row for row in found if row]


def content(cell: Token) -> str:
    """The text of a cell that has nothing but text in it, and comments to break it up."""
    for child in cell.children or []:
        assert child.type in ("text", "text_special") or child.content == "<!-- -->", child
        # What GitHub makes links and pictures of in text, once it is rendered.
        if child.type != "html_inline":
            assert not re.search(r"@\S|#\d|://|www\.|:[\w+-]+:", child.content, re.IGNORECASE)
    return "".join(child.content for child in cell.children or [] if child.type != "html_inline")


def test_the_whole_report_is_the_one_written_down() -> None:
    assert findings_markdown(samples(), [("gone|x", "gone|x does not exist")], 3) == GOLDEN.read_text()


def test_no_findings_is_a_sentence() -> None:
    assert findings_markdown([], [], 2) == "## buildopt lint\n\nNo findings in 2 files.\n"


def test_a_row_has_severity_line_rule_message_and_fix() -> None:
    written = rows(findings_markdown(samples(), [], 1))
    assert [[len(row) for row in written]] == [[5] * 5]
    assert [row[1].content for row in written] == ["2", "3", "4", "5", "5"]
    assert content(written[1][3]) == printable(HARM)
    rule = written[0][2].children or []
    assert rule[0].type == "link_open" and str(rule[0].attrs["href"]).startswith("https://")
    assert rule[1].content == "add-instead-of-copy"
    assert written[2][4].content == "`--fix --unsafe-fixes`: add -y"


@given(st.text(st.characters(codec="utf-8")))
def test_no_text_leaves_its_cell(words: str) -> None:
    item = finding("add-instead-of-copy", words, Severity.INFO, "ADD", fix=Fix(words, ()))
    ((*_, message, fix),) = rows(findings_markdown([item], [], 1))
    assert content(message) == printable(words).strip(" \t")
    assert (fix.children or [])[0].content == "--fix"


@given(st.text("ab`|@#:<>&\\$_*[]()! w.1-", max_size=12))
def test_marks_stay_marks(words: str) -> None:
    item = finding("add-instead-of-copy", f"x{words}x", Severity.INFO, "ADD")
    ((_, _, _, message, _),) = rows(findings_markdown([item], [], 1))
    assert content(message) == f"x{words}x"


@given(st.text("ab`|\n<>\\ ", min_size=1))
def test_paths_are_code(words: str) -> None:
    (heading,) = READER.parseInline(f"x {code(words)} x")
    inside = [child for child in heading.children or [] if child.type == "code_inline"]
    assert len(inside) == 1
    # A renderer takes one blank off both ends.
    assert printable(words).strip() == inside[0].content.strip()


def test_what_is_too_long_is_cut_by_gravity() -> None:
    source = Source("other/Dockerfile", "FROM a\n")
    many = [finding("add-instead-of-copy", "m" * 900, Severity.INFO, "FROM", source=source) for _ in range(2000)]
    written = findings_markdown([*many, *samples()[2:3]], [], 2)
    assert markdown.MOST_BYTES * 0.95 < len(written.encode()) <= markdown.MOST_BYTES
    shown = rows(written)
    assert shown[-1][0].content == "🔴 error"
    assert written.endswith(f"\n{2001 - len(shown)} more findings: too many to show here.\n")


def test_text_keeps_what_needs_no_mark() -> None:
    assert text("use COPY --from=a (in /srv) - it's fine!") == "use COPY --from=a (in /srv) - it's fine!"
