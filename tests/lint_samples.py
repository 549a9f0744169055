"""Findings for the tests of reports: of every severity, with fixes of every kind, and with texts that mean harm."""

from __future__ import annotations

from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.source import Edit, Source, Span

TEXT = """FROM debian:12
ADD a.py /b
RUN apt-get update && \\
    apt-get install curl
ENV KEY="ü🐳" NAME=x
CMD python app.py
"""
# Everything that Markdown, HTML, a table, GitHub or a terminal could take for more than text.
HARM = "a|b `c` <script>x</script> [l](https://e.x) @octo #1 $x$y :tada: *b* _i_ ~~s~~ \\ & \n::error::x\x1b[31m %0A ,:"


def finding(
    rule: str,
    message: str,
    severity: Severity,
    where: str,
    *,
    source: Source | None = None,
    category: Category = Category.CORRECTNESS,
    aliases: tuple[str, ...] = (),
    fix: Fix | None = None,
) -> Finding:
    """A finding on the first place where ``where`` stands in the source."""
    source = source or Source("svc/Dockerfile", TEXT)
    start = source.text.index(where)
    return Finding(rule, message, source, Span(start, start + len(where)), severity, category, aliases, fix)


def samples(source: Source | None = None) -> list[Finding]:
    """One finding of each kind in the order of their places."""
    source = source or Source("svc/Dockerfile", TEXT)
    add, install, name = (source.text.index(word) for word in ("ADD", "install curl", " NAME"))
    return [
        finding(
            "add-instead-of-copy",
            "use COPY",
            Severity.WARNING,
            "ADD",
            source=source,
            aliases=("DL3020",),
            fix=Fix("use COPY", (Edit(Span(add, add + 3), "COPY"),)),
        ),
        finding("apt-lists-left", HARM, Severity.INFO, "apt-get update && \\\n    apt-get install", source=source),
        finding(
            "missing-apt-yes",
            "nobody answers",
            Severity.ERROR,
            "install curl",
            source=source,
            aliases=("DL3014",),
            fix=Fix("add -y", (Edit(Span(install + 7, install + 7), " -y"),), safe=False),
        ),
        finding(
            "secret-in-arg-or-env",
            "ENV KEY can be read",
            Severity.ERROR,
            "KEY",
            source=source,
            category=Category.SECURITY,
            aliases=("SecretsUsedInArgOrEnv",),
        ),
        finding(
            "legacy-key-value-format",
            "one a line",
            Severity.STYLE,
            "NAME=x",
            source=source,
            category=Category.STYLE,
            fix=Fix("split", (Edit(Span(name, name + 1), "\nENV "), Edit(Span(name + 6, name + 7), 'y"ü🐳'))),
        ),
    ]
