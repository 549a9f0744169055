"""What the documents promise is what the code and the repository have."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from buildopt.cli import COMMANDS

ROOT = Path(__file__).parent.parent
FENCES = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_the_first_fence_runs_the_demo_and_the_next_bash_one_the_tests() -> None:
    bash = [body for language, body in FENCES if language == "bash"]
    assert FENCES[0][0] == "bash"
    assert [body.count("\n") for body in bash] == [1, 1], "each is one line"
    assert bash[0].rstrip().endswith("buildopt demo")
    assert bash[1].rstrip().endswith("pytest -n 2")


def test_ci_runs_the_readme_s_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    program = re.search(r"awk '(.*?)' README", script)
    assert program is not None
    awk = subprocess.run(["awk", program[1], "README.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert awk.stdout == [body for language, body in FENCES if language == "bash"][1]


def test_every_command_in_the_readme_exists() -> None:
    named = re.findall(r"buildopt ([a-z][a-z-]+)", (ROOT / "README.md").read_text())
    assert named
    assert set(named) <= {*COMMANDS, "finds"}


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_architecture_names_every_package_and_top_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    parts = [p.name for p in (ROOT / "buildopt").iterdir() if p.name[0] not in "_." and p.name != "py.typed"]
    assert [name for name in parts if name not in text] == []
