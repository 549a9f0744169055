"""What must hold for Go, Maven and Gradle, so that a mount hides nothing that is needed."""

from __future__ import annotations

import re

from buildopt.dockerfile.caches.cache_group import Group, text_of
from buildopt.dockerfile.caches.cache_where import No
from buildopt.dockerfile.caches.go_programs import outputs
from buildopt.dockerfile.manager import Use
from buildopt.dockerfile.managers import (
    MAVEN,
)
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import states
from buildopt.dockerfile.splits.go_build import started

# What Go modules bring along as a shared library, to be found in the module cache when the program runs.
_SHARED = re.compile(
    r"github\.com/(?:CosmWasm/wasmvm|wasmerio/wasmer-go|bytecodealliance/wasmtime-go|yalue/onnxruntime)"
)


def go(group: Group) -> None:
    """What a container of these stages starts must be a program that was built, nothing that may run go."""
    dockerfile = group.dockerfile
    known = states(dockerfile)
    built = outputs(group.runs, group.context)
    for stage in group.stages:
        entries = [item for item in stage.instructions if item.keyword in ("CMD", "ENTRYPOINT")]
        if not entries and stage is dockerfile.final_stage:
            raise No(stage.origin.lines[0], "the image starts no program of its own: a person may run go in it")
        for instruction in entries:
            programs = started(instruction, known[instruction.span.start])
            entry = instruction.keyword == "ENTRYPOINT" or not any(s.keyword == "ENTRYPOINT" for s in entries)
            if entry and built.isdisjoint(programs):
                shown = " ".join(instruction.values)[:60]
                raise No(instruction.lines[0], f"`{shown}` is not known to be a built program: it may run go")
            shared = _SHARED.search(text_of(group.context, "go.mod") + dockerfile.source.text)
            if shared is not None:
                raise No(instruction.lines[0], f"its program finds a library of {shared[0]} in the module cache")


# What has a program look for its libraries in the repository when it starts.
_FROM_REPOSITORY = re.compile(r"spring-boot-thin|<classpathLayoutType>\s*repository|<classpathPrefix>[^<]*\.m2")


def java(group: Group) -> None:
    """Programs that look for their libraries in the repository. Raises No."""
    for name in ("pom.xml", "build.gradle", "build.gradle.kts"):
        found = _FROM_REPOSITORY.search(text_of(group.context, name))
        if found is not None and any(True for _ in group.starting()):
            raise No(group.users[0].line, f"{name} has the program find its libraries where they were downloaded")


def maven(group: Group) -> None:
    """What one RUN installs for another, and settings that move the repository. Raises No."""
    java(group)
    installed: Run | None = None
    for run in group.users:
        for use in run.needs(MAVEN):
            if installed is not None and installed is not run:
                raise No(
                    run.line, f"it may need what line {installed.line} has installed, which only the mount would hold"
                )
            _maven_settings(group, run, use)
            goals = [use.subcommand, *(word.text or word.raw for word in use.rest)]
            if any(goal.endswith("build-classpath") or goal == "classworlds" for goal in goals):
                raise No(run.line, "it writes down paths of the repository, which would not be in the image")
            if any(goal == "install" or goal.startswith("install:") or goal.endswith(":install") for goal in goals):
                installed = run
        for name in ("MAVEN_OPTS", "MAVEN_ARGS", "MAVEN_CLI_OPTS"):
            value = run.state.environment.get(name) or ""
            if "maven.repo.local" in value or " -o" in f" {value}" or name in run.state.arguments:
                raise No(run.line, f"{name} may move the repository")


def _maven_settings(group: Group, run: Run, use: Use) -> None:
    words = [word.text or word.raw for word in use.arguments]
    for index, word in enumerate(words):
        name, _, value = word.partition("=")
        if name not in ("-s", "--settings"):
            continue
        value = value or (words[index + 1] if index + 1 < len(words) else "")
        base = value.rsplit("/", 1)[-1]
        text = next((text for text in (text_of(group.context, item) for item in (value.lstrip("/"), base)) if text), "")
        if not text or "localRepository" in text or value.startswith("/usr/share/maven"):
            raise No(run.line, f"{value} may put the repository elsewhere")
