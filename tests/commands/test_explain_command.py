"""``buildopt explain``: what a rule is about, and where it is on."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import run

from buildopt.dockerfile.rules import RULES
from buildopt.settings import PROFILES


def test_a_rule_says_how_grave_it_is_and_in_which_profiles(tmp_path: Path) -> None:
    done = run(tmp_path, "explain", "add-instead-of-copy")
    assert done.stdout.splitlines()[:4] == [
        "add-instead-of-copy (DL3020): rule, warning, correctness",
        "profiles: recommended, strict, hadolint",
        "",
        "ADD where COPY does the same.",
    ]


def test_json_has_the_facts_of_every_rule(tmp_path: Path) -> None:
    topics = json.loads(run(tmp_path, "explain", "--format", "json").stdout)["topics"]
    rules = [topic for topic in topics if topic["kind"] == "rule"]
    assert [topic["name"] for topic in rules] == [rule.NAME for rule in RULES]
    assert all("strict" in topic["profiles"] and set(topic["profiles"]) <= set(PROFILES) for topic in rules)
    by_name = {topic["name"]: topic for topic in rules}
    assert by_name["from-as-casing"]["profiles"] == ["recommended", "strict"], "hadolint has nothing like it"
    assert {key: by_name["syntax-error"][key] for key in ("severity", "category")} == {
        "severity": "error",
        "category": "correctness",
    }


def test_the_list_says_what_is_off(tmp_path: Path) -> None:
    lines = run(tmp_path, "explain").stdout.splitlines()
    for rule in RULES:
        (line,) = (line for line in lines if line.startswith((f"{rule.NAME}: ", f"{rule.NAME} (")))
        assert ("on with --profile strict" in line) == getattr(rule, "STRICT", False)


def test_codes_of_shellcheck_belong_to_one_rule(tmp_path: Path) -> None:
    assert run(tmp_path, "explain", "sc2086").stdout.startswith("shellcheck: rule, warning, correctness\n")
