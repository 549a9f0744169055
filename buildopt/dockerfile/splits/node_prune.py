"""How dev dependencies of a Node.js project are taken out again, and projects that are not understood."""

from __future__ import annotations

import re

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.node_plan import SCRIPTS_OF_INSTALL, Plan, options_of, state_at_end
from buildopt.dockerfile.splits.node_runs import (
    Kind,
    is_production,
)
from buildopt.dockerfile.splits.splits import No

_OLD_NPM = re.compile(r"npm@[~^]?[1-6](?:\..*)?")
_PASSED_ON = re.compile(
    r"--(?:legacy-peer-deps|force|strict-peer-deps|no-optional|omit=(?:optional|peer)|install-strategy=\w+|legacy-bundling|no-package-lock)$|-f$"
)
_CODENAMES = {"argon": 4, "boron": 6, "carbon": 8, "dubnium": 10, "erbium": 12, "fermium": 14}
# Their scripts put browsers and the like outside node_modules.
_ELSEWHERE = word_set(
    "puppeteer playwright @playwright/test cypress mongodb-memory-server electron playwright-chromium"
)
_HARMLESS_SCRIPT = re.compile(
    r"(?:npx |yarn |yarn run )?(?:husky(?: install)?|is-ci \|\| husky install|prisma generate|husky \|\| true)"
)


def understood(found: Plan) -> None:
    """Refuse projects of which too little is known. Raises No."""
    subject, project = found.subject, found.project
    if not any(step.kind is Kind.BUILD for step in found.steps):
        raise No(subject.head[-1], "no RUN builds the project")
    if not found.installs:
        raise No(subject.head[-1], "no RUN installs the dependencies that package.json lists")
    install = found.installs[-1].run.instruction
    workspaces = project.package.get("workspaces")
    if workspaces or re.search(r"^packages\s*:", project.text("pnpm-workspace.yaml"), re.MULTILINE):
        raise No(install, "a project of several workspaces is not split")
    if project.has("lerna.json") or project.has("nx.json") or project.has("rush.json"):
        raise No(install, "a project of several packages is not split")
    tools = {step.tool for step in found.installs}
    berry = (
        project.has(".yarnrc.yml")
        or "__metadata:" in project.text("yarn.lock")
        or re.match(r"yarn@[2-9]", str(project.package.get("packageManager") or ""))
    )
    if "onbuild" in subject.final.base.tag:
        raise No(subject.origin, "what the base image runs ON BUILD would run twice")
    if re.search(r"\$\{", project.text(".npmrc")) and any(
        flag.value and "secret" in flag.value for step in found.installs for flag in step.run.instruction.flags
    ):
        raise No(install, "what it installs needs a secret")
    if "yarn" in tools and berry:
        raise No(install, "Yarn 2 and later may need its own files at run time")
    if len(tools) > 1:
        raise No(install, f"both {' and '.join(sorted(tools))} install into node_modules")
    linked = next((place for place in project.linked if place.startswith(("..", "/", "~"))), None)
    if linked is not None:
        raise No(install, f"a dependency is linked from {linked}, outside the project")
    skipped = any(re.search(r"SKIP.*DOWNLOAD|SKIP_CHROMIUM", name) for name in subject.final.environment)
    outside = (_ELSEWHERE & project.dependencies) | (_ELSEWHERE & (project.locked or frozenset()))
    if outside and not skipped:
        raise No(install, f"{sorted(outside)[0]} may put what it needs outside node_modules")


def prune_command(found: Plan) -> str:
    """The command that takes dev dependencies out again; empty where there are none."""
    project, last = found.project, found.installs[-1]
    added = [step for step in found.steps if step.kind is Kind.ADD]
    developed = bool(project.development) or any(
        {"-D", "--save-dev", "--dev", "-d"} & options_of(step) for step in added
    )
    removed = [
        step
        for step in found.steps
        if step.kind is Kind.OWN and step.tool == "rm" and any(path.endswith("node_modules") for path in step.names)
    ]
    if removed and removed[-1].offset > last.offset:
        raise No(removed[-1].run.instruction, "node_modules is removed again")
    if last.names[:1] == ("prune",) or is_production(last) or not developed:
        return ""
    if added and added[-1].tool != last.tool:
        raise No(added[-1].run.instruction, f"both {last.tool} and {added[-1].tool} install into node_modules")
    user = last.run.state.user
    ending = state_at_end(found.subject)
    if ending.user != user and not ending.root:
        raise No(last.run.instruction, "another user than at the end installs")
    flags = [word for word in sorted(options_of(last)) if _PASSED_ON.match(word)]
    if last.tool == "npm":
        option = "--production" if old_npm(found) else "--omit=dev"
        text = " ".join(("npm prune", option, *flags))
    elif last.tool == "yarn":
        if any(
            flag.value and ("secret" in flag.value or "ssh" in flag.value)
            for step in found.installs
            for flag in step.run.instruction.flags
        ):
            raise No(last.run.instruction, "what it installs needs a secret")
        scripts = [project.scripts.get(name, "") for name in ("preinstall", "install", "postinstall", "prepare")]
        changed = any(
            step.kind is Kind.OWN and ("/node_modules/" in name or name.endswith(".npmrc"))
            for step in found.steps
            for name in step.names
        )
        if changed or any(text and not _HARMLESS_SCRIPT.fullmatch(text.strip()) for text in scripts):
            raise No(last.run.instruction, "scripts change what Yarn installs, and it would put that right again")
        if not project.has("yarn.lock") and options_of(last) & {
            "--frozen-lockfile",
            "--pure-lockfile",
            "--no-lockfile",
        }:
            raise No(last.run.instruction, "there is no yarn.lock: another install may choose other versions")
        text = "yarn install --production --frozen-lockfile --ignore-scripts --prefer-offline"
        text += " --ignore-engines" if "--ignore-engines" in options_of(last) else ""
    else:
        text = "pnpm prune --prod"
        text += " --config.ignore-scripts=true" if any(name in project.scripts for name in SCRIPTS_OF_INSTALL) else ""
    if ending.workdir != project.folder:
        text = f"cd {project.folder} && {text}"
    return text


def old_npm(found: Plan) -> bool:
    """Whether npm may be older than 7, which knows no ``--omit``."""
    own = [step for step in found.steps if step.kind is Kind.GLOBAL and "npm" in step.names]
    if own:
        return any(_OLD_NPM.fullmatch(text) for text in own[-1].command.texts)
    if found.subject.final.base.repository != "node":
        return True
    tag = found.subject.final.base.tag.lower()
    match = re.match(r"v?([0-9]+)", tag)
    major = (
        int(match.group(1))
        if match
        else next((number for name, number in _CODENAMES.items() if tag.startswith(name)), 99)
    )
    return major < 15
