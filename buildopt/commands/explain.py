"""``buildopt explain``: the documentation of a rule or a pass."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from buildopt import errors, settings
from buildopt.commands.common import Output, output_options
from buildopt.report.rule_text import rule_texts


@dataclass(frozen=True, slots=True)
class Topic:
    """Something to explain: ``kind`` is ``rule`` or ``pass``; a pass has no severity, category or profiles."""

    kind: str
    name: str
    text: str
    aliases: tuple[str, ...] = ()
    severity: str = ""
    category: str = ""
    profiles: tuple[str, ...] = ()


def topics() -> Iterator[Topic]:
    """All rules, then all passes."""
    from buildopt.dockerfile.optimize import PASSES

    for name, text in rule_texts().items():
        rule = text.rule
        severity, category = rule.SEVERITY.label, rule.CATEGORY.value
        yield Topic("rule", name, text.markdown, rule.ALIASES, severity, category, text.profiles)
    for rewrite in PASSES:
        yield Topic("pass", rewrite.NAME, inspect.cleandoc(rewrite.__doc__ or ""))


@click.command(epilog="Examples: buildopt explain apt-lists-left · buildopt explain DL3009")
@click.argument("name", required=False, metavar="[RULE|PASS]")
@output_options("text", "json")
def explain(name: str | None, output: Output) -> int:
    """Explain a rule (by its name, or one of hadolint or BuildKit) or a pass; without a name, list all."""
    everything = list(topics())
    found = everything if name is None else [topic for topic in everything if _is_called(topic, name)]
    if not found:
        known = [known for topic in everything for known in (topic.name, *topic.aliases)]
        assert name is not None
        near = settings.nearest(name, known)
        hint = near if near.startswith("did you mean") else "list them all with: buildopt explain"
        raise errors.UsageError(f"no rule or pass is called {name}", hint=hint)
    if output.json:
        import json

        document = {"version": 1, "topics": [_document(topic) for topic in found]}
        output.result(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    elif name is None:
        output.result("".join(f"{_heading(topic)}\n    {_first_line(topic)}\n" for topic in found))
    else:
        color = output.colored(sys.stdout)
        output.result("\n".join(_rendered(topic, color) for topic in found))
    return errors.OK


def _is_called(topic: Topic, name: str) -> bool:
    if re.fullmatch(r"SC\d{4}", name, re.IGNORECASE):
        return topic.name == "shellcheck"  # one rule for all its codes
    if topic.kind == "pass":
        return name.lower().replace("-", "_") == topic.name
    return name.lower() in (topic.name, *(alias.lower() for alias in topic.aliases))


def _document(topic: Topic) -> dict[str, object]:
    document: dict[str, object] = {"kind": topic.kind, "name": topic.name, "aliases": list(topic.aliases)}
    if topic.kind == "rule":
        document |= {"severity": topic.severity, "category": topic.category, "profiles": list(topic.profiles)}
    return {**document, "text": topic.text}


def _heading(topic: Topic) -> str:
    aliases = f" ({', '.join(topic.aliases)})" if topic.aliases else ""
    facts = [word for word in (topic.kind, topic.severity, topic.category) if word]
    if topic.kind == "rule" and "recommended" not in topic.profiles:
        facts.append(f"on with --profile {' or '.join(topic.profiles)}")
    return f"{topic.name}{aliases}: {', '.join(facts)}"


def _first_line(topic: Topic) -> str:
    return topic.text.split("\n", 1)[0]


def _rendered(topic: Topic, color: bool) -> str:
    """The docstring as it is written (it is Markdown), with headings and code set apart on a terminal."""
    profiles = f"profiles: {', '.join(topic.profiles)}\n" if topic.profiles else ""
    text = f"{_heading(topic)}\n{profiles}\n{topic.text}\n"
    if not color:
        return text
    text = re.sub(r"^## (.*)$", "\x1b[1m\\1\x1b[0m", text, flags=re.MULTILINE)
    text = re.sub(r"^```\w*\n(.*?)^```$", _code, text, flags=re.MULTILINE | re.DOTALL)
    head, _, rest = text.partition("\n")
    return f"\x1b[1;36m{head}\x1b[0m\n{rest}"


def _code(match: re.Match[str]) -> str:
    return "\n".join(f"    \x1b[32m{line}\x1b[0m" for line in match.group(1).rstrip("\n").split("\n"))
