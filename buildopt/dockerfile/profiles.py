"""Which rules are on, and how grave their findings are, in each profile.

``recommended`` has every rule but those that say ``STRICT = True``; ``strict`` has all. ``hadolint`` has what hadolint
2.15 has on by default, with its severities, so that a team can move over and see what it saw before.
"""

from __future__ import annotations

import re
from dataclasses import replace

from buildopt.dockerfile.rules import Rule
from buildopt.finding import Finding, Severity
from buildopt.settings import LintSettings

# The codes that hadolint 2.15.1 reports without any configuration, by the severity that it gives them. The rules of
# labels and registries are there too: they find nothing until they are told what is wanted. DL1001 and DL3057 are off.
_HADOLINT_SEVERITIES = {
    Severity.ERROR: "DL1000 DL3000 DL3004 DL3011 DL3012 DL3020 DL3021 DL3023 DL3024 DL3026 DL3043 DL3044 DL3061 DL4000 "
    "DL4004",
    Severity.WARNING: "DL3002 DL3003 DL3006 DL3007 DL3008 DL3013 DL3014 DL3016 DL3018 DL3022 DL3025 DL3027 DL3028 "
    "DL3029 DL3030 DL3032 DL3033 DL3034 DL3035 DL3036 DL3037 DL3038 DL3040 DL3041 DL3042 DL3045 DL3046 DL3051 DL3052 "
    "DL3053 DL3054 DL3055 DL3056 DL3058 DL3062 DL3063 DL3064 DL3065 DL3067 DL4001 DL4003 DL4005 DL4006",
    Severity.INFO: "DL3001 DL3009 DL3010 DL3015 DL3019 DL3047 DL3049 DL3050 DL3059 DL3060 DL3066",
    Severity.STYLE: "DL3048",
}
HADOLINT = {code: severity for severity, codes in _HADOLINT_SEVERITIES.items() for code in codes.split()}
_SHELLCHECK = re.compile(r"SC\d{4}")


def is_on(rule: Rule, settings: LintSettings) -> bool:
    """Whether the profile has the rule; one that is selected by name runs in any profile."""
    if settings.like_hadolint:
        return any(alias in HADOLINT for alias in rule.ALIASES) or rule.NAME == "shellcheck"
    return settings.profile == "strict" or not getattr(rule, "STRICT", False)


def in_profile(finding: Finding, settings: LintSettings, *, selected: bool) -> Finding | None:
    """A finding as the settings want it: with another severity, perhaps, or None where the profile lacks it."""
    if settings.like_hadolint:
        codes = [alias for alias in finding.aliases if alias in HADOLINT or _SHELLCHECK.fullmatch(alias)]
        if not codes and not selected:
            return None
        severity = next((HADOLINT[code] for code in codes if code in HADOLINT), finding.severity)
        finding = replace(finding, severity=severity)
    if not settings.severity:
        return finding
    wanted = {name.lower(): word for name, word in settings.severity}
    names = (finding.rule, *(alias.lower() for alias in finding.aliases), finding.category.value)
    word = next((wanted[name] for name in names if name in wanted), None)
    return finding if word is None else replace(finding, severity=Severity[word.upper()])
