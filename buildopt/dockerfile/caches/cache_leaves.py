"""Whether a RUN, as it is, leaves something in the folders of a cache."""

from __future__ import annotations

from collections.abc import Sequence

from buildopt.dockerfile.caches.cleanups import is_of_caches_alone
from buildopt.dockerfile.caches.mounts import mounts
from buildopt.dockerfile.manager import Manager
from buildopt.dockerfile.managers import APT, GO
from buildopt.dockerfile.passes.paths import Relation, mention
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.shell import Word


def leaves(run: Run, manager: Manager, targets: Sequence[str]) -> bool:
    """Whether the RUN, as it is, leaves content in the folders."""
    covered = mounts(run.instruction)
    if all(any(mount.kind == "cache" and mount.covers(target) for mount in covered) for target in targets):
        return False
    if manager is APT:
        return _leaves_lists(run, "/var/lib/apt/lists", manager)
    if manager.leavings:
        return _leaves_lists(run, manager.leavings[0], manager)
    if manager is GO:
        cleaned = {option.lstrip("-") for use in run.uses(GO) if use.is_cleanup for option in use.command.options}
        return not cleaned >= {"modcache", "cache"}
    emptied = any(use.is_cleanup for use in run.uses(manager)) or all(_removes(run, target) for target in targets)
    return not emptied and any(not list(use.defeats()) for use in run.needs(manager))


def _leaves_lists(run: Run, folder: str, manager: Manager) -> bool:
    left = False
    uses = {id(use.command): use for use in run.uses(manager)}
    for command in run.commands:
        use = uses.get(id(command))
        if use is not None and use.uses_cache:
            left = left or not list(use.defeats())
        elif command.name == "rm" and command.depth == 0 and _rm_of(command.argv[1:], folder, run):
            left = False
    return left


def _removes(run: Run, target: str) -> bool:
    return any(command.name == "rm" and _rm_of(command.argv[1:], target, run) for command in run.commands)


def _rm_of(words: Sequence[Word], target: str, run: Run) -> bool:
    state = run.state
    return any(
        mention(word, [target], (), state.home, state.variables) is Relation.INSIDE
        or is_of_caches_alone(word, [target], run)
        for word in words
    )
