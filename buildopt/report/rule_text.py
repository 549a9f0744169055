"""The documentation of a rule, taken from its docstring."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import lru_cache

from buildopt.dockerfile.profiles import is_on
from buildopt.dockerfile.rules import RULES, Rule
from buildopt.settings import PROFILES, LintSettings

_FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class RuleText:
    """``title`` is the first line, ``markdown`` the whole docstring, ``reference`` the first of its references."""

    rule: Rule
    title: str
    markdown: str

    @property
    def reference(self) -> str:
        """The first address among the references (those of the examples lead nowhere); empty where there is none."""
        address = re.search(r"https://[^\s)>]+", self.section("References"))
        return address[0] if address is not None else ""

    def section(self, heading: str) -> str:
        """The text below a heading, empty where there is none."""
        _, found, rest = f"\n{self.markdown}\n".partition(f"\n## {heading}\n")
        return rest.partition("\n## ")[0].strip() if found else ""

    @property
    def plain(self) -> str:
        """The docstring for readers that show no Markdown: code is indented, headings end in a colon."""
        text = _FENCE.sub(lambda match: re.sub(r"^(?=.)", "    ", match[1].rstrip(), flags=re.M), self.markdown)
        return re.sub(r"^## (.*)$", r"\1:", text, flags=re.MULTILINE).replace("``", "")

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles that have the rule on."""
        return tuple(name for name in PROFILES if is_on(self.rule, LintSettings(profile=name)))


@lru_cache(maxsize=1)
def rule_texts() -> dict[str, RuleText]:
    """The documentation of all rules by name."""
    return {rule.NAME: _read(rule) for rule in RULES}


def _read(rule: Rule) -> RuleText:
    text = inspect.cleandoc(rule.__doc__ or "")
    return RuleText(rule, text.partition("\n")[0], text)
