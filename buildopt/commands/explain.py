"""``buildopt explain``: the documentation of a rule or a pass."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from buildopt import errors, settings
from buildopt.commands.common import Output, output_options
from buildopt.dockerfile.rules import RULES


@dataclass(frozen=True, slots=True)
class Topic:
    """Something to explain: ``kind`` is ``rule`` or ``pass``, ``facts`` are severity and category of a rule."""

    kind: str
    name: str
    aliases: tuple[str, ...]
    facts: tuple[str, ...]
    text: str


def topics() -> Iterator[Topic]:
    """All rules, then all passes."""
    for rule in RULES:
        facts = (rule.SEVERITY.label, rule.CATEGORY.value)
        yield Topic("rule", rule.NAME, rule.ALIASES, facts, inspect.cleandoc(rule.__doc__ or ""))
    for rewrite in getattr(importlib.import_module("buildopt.dockerfile.passes"), "PASSES", ()):
        yield Topic("pass", rewrite.NAME, (), (), inspect.cleandoc(rewrite.__doc__ or ""))


@click.command(epilog="Examples: buildopt explain apt-lists-left · buildopt explain DL3009")
@click.argument("name", required=False, metavar="RULE|PASS")
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

        shown = [
            {"kind": topic.kind, "name": topic.name, "aliases": list(topic.aliases), "text": topic.text}
            for topic in found
        ]
        output.result(json.dumps({"version": 1, "topics": shown}, indent=2, ensure_ascii=False) + "\n")
    elif name is None:
        output.result("".join(f"{_heading(topic)}\n    {_first_line(topic)}\n" for topic in found))
    else:
        color = output.colored(sys.stdout)
        output.result("\n".join(_rendered(topic, color) for topic in found))
    return errors.OK


def _is_called(topic: Topic, name: str) -> bool:
    return name.lower() in (topic.name, *(alias.lower() for alias in topic.aliases))


def _heading(topic: Topic) -> str:
    aliases = f" ({', '.join(topic.aliases)})" if topic.aliases else ""
    return f"{topic.name}{aliases}: {', '.join((topic.kind, *topic.facts))}"


def _first_line(topic: Topic) -> str:
    return topic.text.split("\n", 1)[0]


def _rendered(topic: Topic, color: bool) -> str:
    """The docstring as it is written (it is Markdown), with headings and code set apart on a terminal."""
    text = f"{_heading(topic)}\n\n{topic.text}\n"
    if not color:
        return text
    text = re.sub(r"^## (.*)$", "\x1b[1m\\1\x1b[0m", text, flags=re.MULTILINE)
    text = re.sub(r"^```\w*\n(.*?)^```$", _code, text, flags=re.MULTILINE | re.DOTALL)
    head, _, rest = text.partition("\n")
    return f"\x1b[1;36m{head}\x1b[0m\n{rest}"


def _code(match: re.Match[str]) -> str:
    return "\n".join(f"    \x1b[32m{line}\x1b[0m" for line in match.group(1).rstrip("\n").split("\n"))
