"""On what occasion a build runs, as CI systems tell it, and for which platforms it then is (``platforms-when``)."""

from __future__ import annotations

from collections.abc import Mapping

from buildopt.settings import ImageSettings

ALL = "all"
"""In ``platforms-when``: those of ``platforms``."""
_GITLAB = {"merge_request_event": "pull_request", "web": "workflow_dispatch"}
_GITHUB = {"pull_request_target": "pull_request"}


def events(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What happens, the most telling word first, each with the variable that says so; empty outside a known CI."""
    if event := environment.get("GITHUB_EVENT_NAME"):
        words = [("release", "GITHUB_EVENT_NAME=release")] if event == "release" else []
        words += [("tag", "GITHUB_REF_TYPE=tag")] if environment.get("GITHUB_REF_TYPE") == "tag" else []
        return (*words, (_GITHUB.get(event, event), f"GITHUB_EVENT_NAME={event}"))
    if source := environment.get("CI_PIPELINE_SOURCE"):
        words = [("tag", "CI_COMMIT_TAG is set")] if environment.get("CI_COMMIT_TAG") else []
        return (*words, (_GITLAB.get(source, source), f"CI_PIPELINE_SOURCE={source}"))
    return ()


def platforms(image: ImageSettings, environment: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """The configured platforms for this occasion, as they are written, and why it is these: empty for those of
    ``platforms``."""
    configured = dict(image.platforms_when)
    for event, reason in events(environment):
        if event not in configured:
            continue
        words = configured[event]
        if ALL in words:
            words = tuple(dict.fromkeys((*image.platforms, *(word for word in words if word != ALL))))
        where = f"images.{image.name}" if image.name else "build"
        return words, f"{where}.platforms-when.{event}, for {reason}"
    return image.platforms, ""
