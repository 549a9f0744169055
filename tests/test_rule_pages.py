"""docs/rules is what docs/generate.py makes of the rules."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from buildopt.dockerfile.rules import RULES

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "rules"


def test_the_pages_are_those_that_would_be_generated() -> None:
    command = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "run: nox -s docs"


def test_every_rule_and_alias_is_in_the_table() -> None:
    text = (PAGES / "README.md").read_text()
    for rule in RULES:
        assert f"| [{rule.NAME}]({rule.NAME}.md) | " in text
        for alias in rule.ALIASES:
            assert re.search(rf"^\| {alias} \|.*\({rule.NAME}\.md\)", text, re.MULTILINE), alias


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_intro_names_rules_and_keys_that_there_are(tmp_path: Path) -> None:
    from buildopt import settings
    from buildopt.commands.lint_files import check_names

    (block,) = re.findall(r"```yaml\n(# buildopt.yaml\n.*?)```", (PAGES / "_intro.md").read_text(), re.DOTALL)
    path = tmp_path / "buildopt.yaml"
    path.write_text(block)
    lint = settings.load(path).lint
    check_names((*lint.ignore, *(name for name, _ in lint.severity)))
    assert lint.profile == "strict"
