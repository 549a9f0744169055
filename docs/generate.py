"""Writes docs/rules from the rules' docstrings; ``--check`` only says which pages are not as they would be written.

Pages whose names begin with an underscore are kept by hand: _intro.md opens README.md, _peers.md closes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from buildopt import settings
from buildopt.dockerfile.lint import lint
from buildopt.dockerfile.profiles import HADOLINT
from buildopt.dockerfile.rules import Rule
from buildopt.finding import Category
from buildopt.report.rule_text import RuleText, rule_texts
from buildopt.source import Source

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "rules"
FIXTURES = ROOT / "fixtures" / "dockerfile"
_TITLES = {
    Category.CORRECTNESS: "Correctness",
    Category.SECURITY: "Security",
    Category.CACHE: "Cache",
    Category.SIZE: "Size",
    Category.STYLE: "Style",
}


def pages() -> dict[str, str]:
    """Every generated page by its file's name."""
    fixed = fixes()
    found = {f"{name}.md": _page(text, fixed[name]) for name, text in rule_texts().items()}
    return {**found, "README.md": _readme(fixed)}


def fixes() -> dict[str, str]:
    """What --fix does for each rule, as all fixtures show: ``safe``, ``unsafe``, ``safe or unsafe`` or ``none``."""
    kinds: dict[str, set[bool]] = {name: set() for name in rule_texts()}
    for path in sorted(FIXTURES.glob("*/before.Dockerfile")):
        configured = path.parent / settings.FILE_NAME
        found = settings.load(configured if configured.is_file() else None).lint
        for finding in lint(Source.from_bytes("Dockerfile", path.read_bytes()), replace(found, profile="strict")):
            if finding.fix is not None:
                kinds[finding.rule].add(finding.fix.safe)
    words = {(True,): "safe", (False,): "unsafe", (False, True): "safe or unsafe", (): "none"}
    return {name: words[tuple(sorted(safe))] for name, safe in kinds.items()}


def _page(text: RuleText, fix: str) -> str:
    rule = text.rule
    commands = {
        "safe": "`--fix`",
        "unsafe": "`--fix --unsafe-fixes`",
        "safe or unsafe": "`--fix`, in some cases `--fix --unsafe-fixes`",
        "none": "none",
    }
    facts = [
        ("Severity", rule.SEVERITY.label),
        ("Category", rule.CATEGORY.value),
        ("Elsewhere", ", ".join(rule.ALIASES)),
        ("Profiles", ", ".join(_profiles(text))),
        ("Fix", commands[fix]),
    ]
    table = "".join(f"| {name} | {value} |\n" for name, value in facts if value)
    _, _, rest = text.markdown.partition("\n")
    return f"# {rule.NAME}\n\n{text.title}\n\n| | |\n| --- | --- |\n{table}\n{rest.strip()}\n"


def _profiles(text: RuleText) -> Iterator[str]:
    for name in text.profiles:
        there = {HADOLINT[alias].label for alias in text.rule.ALIASES if alias in HADOLINT}
        other = name == "hadolint" and there and there != {text.rule.SEVERITY.label}
        yield f"{name} (there: {' or '.join(sorted(there))})" if other else name


def _readme(fixed: dict[str, str]) -> str:
    texts = rule_texts()
    parts = [(PAGES / "_intro.md").read_text(), f"\n## All {len(texts)} rules\n"]
    for category, title in _TITLES.items():
        rows = [text for text in texts.values() if text.rule.CATEGORY is category]
        if rows:
            parts.append(f"\n### {title}\n\n| Rule | | Severity | Fix | Profiles |\n| --- | --- | --- | --- | --- |\n")
            parts += (_row(text, fixed[text.rule.NAME]) for text in rows)
    parts += ("\n## Names elsewhere\n\n| hadolint, BuildKit | here |\n| --- | --- |\n", *_aliases())
    return "".join((*parts, "\n", (PAGES / "_peers.md").read_text()))


def _row(text: RuleText, fix: str) -> str:
    title = text.title.replace("|", "\\|")
    profiles = ", ".join(text.profiles)
    name = text.rule.NAME
    return f"| [{name}]({name}.md) | {title} | {text.rule.SEVERITY.label} | {fix} | {profiles} |\n"


def _aliases() -> Iterator[str]:
    """Codes of hadolint and ShellCheck first, then the names of BuildKit."""
    owners: dict[str, list[Rule]] = {}
    for text in rule_texts().values():
        for alias in text.rule.ALIASES:
            owners.setdefault(alias, []).append(text.rule)
    for alias in sorted(owners, key=lambda alias: (not alias[-4:].isdigit(), alias)):
        links = ", ".join(f"[{rule.NAME}]({rule.NAME}.md)" for rule in owners[alias])
        yield f"| {alias} | {links} |\n"


def _stale(wanted: dict[str, str]) -> list[str]:
    """Names of pages that are missing, differ, or should not be there."""
    there = {path.name: path.read_text() for path in PAGES.glob("*.md") if not path.name.startswith("_")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main() -> int:
    """Write what differs, or with ``--check`` name it; the exit code."""
    wanted = pages()
    stale = _stale(wanted)
    if "--check" in sys.argv[1:]:
        sys.stdout.write("".join(f"docs/rules/{name} is not what docs/generate.py writes\n" for name in stale))
        return 1 if stale else 0
    for name in stale:
        if name in wanted:
            (PAGES / name).write_text(wanted[name])
        else:
            (PAGES / name).unlink()
    sys.stdout.write(f"{len(stale)} of {len(wanted)} pages written\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
