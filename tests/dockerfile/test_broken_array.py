"""Arrays that are no JSON: why, and what was meant."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.lint import fix, lint
from buildopt.settings import LintSettings
from buildopt.source import Source

ONLY = LintSettings(select=("shell-form-command",))


@pytest.mark.parametrize(
    ("line", "why", "after"),
    [
        ('CMD ["npm", "start",]', "a trailing comma", 'CMD ["npm", "start"]'),
        ('CMD ["npm" "start"]', "a missing comma", 'CMD ["npm", "start"]'),
        ('CMD ["npm",, "start"]', "a comma too many", 'CMD ["npm", "start"]'),
        ("ENTRYPOINT ['node', 'a.js']", "single quotes", 'ENTRYPOINT ["node", "a.js"]'),
        ("RUN ['npm', 'ci']", "single quotes", 'RUN ["npm", "ci"]'),
        ("RUN --network=none ['npm', \\\n  'ci']", "single quotes", 'RUN --network=none ["npm", "ci"]'),
        ("HEALTHCHECK CMD ['curl', 'x']", "single quotes", 'HEALTHCHECK CMD ["curl", "x"]'),
        ("HEALTHCHECK --interval=3s CMD ['a']", "single quotes", 'HEALTHCHECK --interval=3s CMD ["a"]'),
        ("ONBUILD CMD ['a']", "single quotes", 'ONBUILD CMD ["a"]'),
        (r'CMD ["C:\app.exe"]', "a backslash that is not doubled", r'CMD ["C:\app.exe"]'),
    ],
)
def test_it_is_said_why_an_array_is_none(line: str, why: str, after: str) -> None:
    source = Source("Dockerfile", f"FROM a\n{line}\n")
    (finding,) = lint(source, ONLY)
    assert f"looks like a JSON array and is none, because of {why}:" in finding.message
    assert fix(source, ONLY).count == 0
    fixed = fix(source, ONLY, unsafe=True)
    assert fixed.source.text == f"FROM a\n{after}\n"
    if fixed.count:
        assert lint(fixed.source, ONLY) == []


@pytest.mark.parametrize(
    "line",
    [
        "RUN [ 'x' ]",
        'RUN [ "$A" = "b" ]',
        "RUN [ -f x ] && y",
        "RUN [ 'a', 'b' ] || true",
        "RUN ['a', b]",
        'RUN ["a"]',
        "RUN []",
        "RUN <<E\n['a']\nE",
        'HEALTHCHECK CMD ["a"]',
    ],
)
def test_tests_and_other_commands_are_none(line: str) -> None:
    assert lint(Source("Dockerfile", f"FROM a\n{line}\n"), ONLY) == []


def test_the_profile_hadolint_sees_the_shell_form_only() -> None:
    settings = LintSettings(profile="hadolint", select=("shell-form-command",))
    text = "FROM a\nRUN ['a']\nHEALTHCHECK CMD ['a']\nCMD ['a']\n"
    found = lint(Source("Dockerfile", text), settings)
    assert [finding.start[0] for finding in found] == [3, 4]
    assert all("use the exec form" in finding.message for finding in found)
