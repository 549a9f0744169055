"""Which image a Java program runs on: the JRE where it is shown to do, else the image it is built on."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits import java_needs
from buildopt.dockerfile.splits.brought import Brought
from buildopt.dockerfile.splits.build_steps import Repeated, Steps
from buildopt.dockerfile.splits.java_images import sister
from buildopt.dockerfile.splits.java_program import folder_of_script
from buildopt.dockerfile.splits.java_start import java
from buildopt.dockerfile.splits.repeats import same_owners
from buildopt.dockerfile.splits.runtime_images import written_prefix
from buildopt.dockerfile.splits.splits import No, Subject, known_user, known_variables
from buildopt.dockerfile.splits.started import Start

# Commands of the shell, and those that every image of a distribution has, whether it holds a JDK or a JRE.
_EVERYWHERE = word_set(
    "[ [[ : . echo printf true false test exit set export unset read shift return trap wait eval sleep date cat ls cd "
    "mkdir rm cp mv ln chmod chown id env pwd head tail sed grep cut tr sort uniq wc tee touch basename dirname sh "
    "expr uname kill local declare break continue command type until while"
)
_BASE_NAMES = word_set("PATH MAVEN_HOME MAVEN_CONFIG GRADLE_HOME GRADLE_VERSION JAVA_VERSION LANG LC_ALL USER_HOME_DIR")


def runtime_image(
    subject: Subject,
    known: java_needs.Sources,
    start: Start,
    check: Start,
    again: Repeated,
    data: Sequence[Brought],
    done: Sequence[Steps],
) -> tuple[str, str]:
    """The runtime image, and a word on it where it keeps the JDK. Raises No."""
    same = subject.written_base
    found = sister(subject.final.base)
    reason = _keeps_the_jdk(subject, known, start, check, again, data)
    if found is None:
        return same, ""
    if not reason and not found.home and "JAVA_HOME" in " ".join(item.arguments.text for item in subject.body):
        reason = "JAVA_HOME is spoken of"
    if not reason:
        try:
            known_variables(subject, _BASE_NAMES, subject.final.base.repository)
            known_user(subject.tail, again.users)
            same_owners(subject, done)
        except No as no:
            reason = no.reason
    if reason:
        return same, f". The JDK stays, since {reason}"
    prefix = written_prefix(subject, subject.final.base.repository)
    return f"{prefix}{found.repository}:{found.tag}", ""


def _keeps_the_jdk(
    subject: Subject,
    known: java_needs.Sources,
    start: Start,
    check: Start,
    again: Repeated,
    data: Sequence[Brought],
) -> str:
    if "$" in subject.written_base:
        return "its version is an argument"
    if known.jdk:
        return f"{known.jdk} may need it"
    if known.programs:
        return f"{known.programs} starts programs"
    if again.packages and subject.final.base.repository in ("maven", "gradle"):
        return "packages are installed on top of it"
    if any("gradle" in entry.owner for entry in data):
        return "files belong to the user gradle"
    for step in (*start.steps, *check.steps):
        command = step.command
        if step.name == "java":
            tools = java(step, subject.final.environment).tools
            if tools or (command.argv[0].raw != "java" and "$" not in command.argv[0].raw and step not in check.steps):
                return f"{tools or command.argv[0].raw} may need it"
        strange = set(command.wrappers) - {"exec", "command", "nohup", "env", *again.packages}
        if strange or (step.name not in (*_EVERYWHERE, "java", *again.packages) and not folder_of_script(step.name)):
            if (
                step.command.argv
                and "/" in step.command.argv[0].raw
                and folder_of_script(posixpath.normpath(posixpath.join(step.folder, step.command.argv[0].text or "")))
            ):
                continue
            if step.name in ("curl", "wget") and _has_curl(subject):
                continue
            return f"{sorted(strange)[0] if strange else step.name or 'a script'} is started too"
    return ""


def _has_curl(subject: Subject) -> bool:
    """Whether the JRE image has curl and wget: Temurin's on Ubuntu, and openjdk's that are not slim."""
    tag, repository = subject.final.base.tag, subject.final.base.repository
    if re.search(r"alpine|ubi|centos|slim|_", tag):
        return False
    return repository in ("eclipse-temurin", "openjdk") or "temurin" in tag or repository == "gradle"
