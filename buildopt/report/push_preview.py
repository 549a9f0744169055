"""What a push would do, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from buildopt.oci.descriptor import Descriptor
from buildopt.registry.outcome import Outcome
from buildopt.registry.plan import PushPlan
from buildopt.registry.preview import Part, PlannedCreation, Preview, RepositoryPreview, Tag
from buildopt.report.columns import aligned
from buildopt.report.push import problem_lines, report_document
from buildopt.report.text import counted
from buildopt.report.units import human

MOST = 10
"""So many blobs of each repository are listed; all of them where everything is wanted."""


def preview_text(plan: PushPlan, found: Preview, *, width: int = 0, everything: bool = False) -> str:
    """A row a destination, then what each repository would get. ``width`` is that of the terminal, 0 for none."""
    lines = [*_head(plan), ""]
    rows = [("", "reference", "tag", "to send", "to mount", "already there")]
    for outcome, tag in zip(found.report.outcomes, found.tags, strict=True):
        rows.append((_mark(outcome), outcome.reference, _tag(tag, outcome), *_sizes(outcome)))
    table = aligned(rows, right=(3, 4, 5), width=width)
    lines += _with_problems(table, found, len(table) // len(rows))
    for repository in found.repositories:
        lines += _repository(repository, everything)
    lines += [line for entry in found.creations for line in _creation(entry)]
    lines += ["", "dry run: nothing was sent"]
    return "\n".join(lines) + "\n"


def _head(plan: PushPlan) -> list[str]:
    image = plan.image
    platforms = ", ".join(str(entry.platform or "one platform") for entry in image.platforms)
    contents = f"{counted(len(image.blobs), 'blob')}, {counted(len(image.manifests) + len(image.indexes), 'manifest')}"
    return [f"digest {image.digest}", f"  {plan.source.path}: {platforms}; {contents}, {human(image.size)}"]


def _with_problems(table: Sequence[str], found: Preview, height: int) -> list[str]:
    lines = list(table[:height])
    for number, outcome in enumerate(found.report.outcomes, 1):
        lines += table[number * height : (number + 1) * height]
        lines += problem_lines(outcome)
    return lines


def _mark(outcome: Outcome) -> str:
    if outcome.ok:
        return "→"
    return "–" if outcome.optional else "✗"


def _tag(tag: Tag, outcome: Outcome) -> str:
    if outcome.problem is not None and outcome.problem.kind != "immutable":
        return outcome.problem.kind
    words = {
        "new": "new",
        "right": "already right",
        "moved": f"moves from {_short(tag.old)}",
        "unknown": "may not be read",
    }
    return f"{words[tag.state]} (immutable)" if outcome.problem is not None else words[tag.state]


def _sizes(outcome: Outcome) -> tuple[str, str, str]:
    sizes = (outcome.bytes_sent, outcome.bytes_mounted, outcome.bytes_present)
    first, second, third = (human(size) if size else "-" for size in sizes)
    return first, second, third


def _repository(found: RepositoryPreview, everything: bool) -> list[str]:
    if not found.blobs and not found.manifests:
        return []
    lines = ["", f"{found.name}{_state(found)}"]
    for word, parts in (("blob", found.blobs), ("manifest", found.manifests)):
        counts = [f"{sum(part.how == how for part in parts)} {what}" for how, what in _WAYS if _any(parts, how)]
        lines.append(f"  {counted(len(parts), word)}: {', '.join(counts)}")
        moving = [part for part in parts if part.how != "present"]
        shown = moving if everything else moving[:MOST]
        lines += aligned([_part(part) for part in shown], right=(3,))
        if len(moving) > len(shown):
            rest = sum(part.descriptor.size for part in moving[len(shown) :])
            lines.append(f"    … and {len(moving) - len(shown)} more, {human(rest)} (all of them: --verbose)")
    lines += [f"  {_REFERRERS[entry.state].format(entry.tag)}" for entry in found.referrers]
    if found.absent:
        lines.append(f"  {counted(len(found.absent), 'foreign layer')} that the artifact does not hold: not pushed")
    return lines


_REFERRERS = {
    "new": "the list of referrers {} would be made",
    "longer": "the list of referrers {} would get further entries",
    "right": "the list of referrers {} is already right",
    "not-a-list": "the list of referrers {} could not be kept: something else is under that tag",
    "unknown": "the list of referrers {} would be made if the registry keeps none by itself",
}
_WAYS = (("sent", "to send"), ("mounted", "to mount"), ("present", "already there"))


def _any(parts: Sequence[Part], how: str) -> bool:
    return any(part.how == how for part in parts)


def _state(found: RepositoryPreview) -> str:
    if found.created:
        return " (does not exist: would be made)"
    return " (does not exist yet: the first push makes it)" if found.exists is False else ""


def _part(part: Part) -> tuple[str, str, str, str, str]:
    source = f"from {part.source.partition('/')[2]}" if part.source else ""
    word = "mount" if part.how == "mounted" else "send"
    return (
        f"    {word}",
        _short(str(part.descriptor.digest)),
        _kind(part.descriptor),
        human(part.descriptor.size),
        source,
    )


def _kind(descriptor: Descriptor) -> str:
    if descriptor.platform is not None and not descriptor.platform.unknown:
        return str(descriptor.platform)
    if descriptor.attestation:
        return "attestation"
    media_type = descriptor.media_type
    kinds = ("layer", "rootfs", "config", "container.image", "index", "manifest.list", "manifest", "in-toto")
    names = {"rootfs": "layer", "container.image": "config", "manifest.list": "index", "in-toto": "attestation"}
    kind = next((kind for kind in kinds if kind in media_type), media_type)
    return names.get(kind, kind)


def _short(digest: str) -> str:
    algorithm, _, digits = digest.partition(":")
    return f"{algorithm}:{digits[:12]}"


def _creation(entry: PlannedCreation) -> list[str]:
    if entry.exists is None:
        return [f"? {entry.repository} would be made if it is missing ({entry.how}); not known: {entry.why}"]
    return [] if entry.exists else [f"+ {entry.repository} would be made ({entry.how})"]


def preview_json(found: Preview) -> str:
    """In the shape of a report: bytes are those that would be sent, mounted, or are there already.

    Beside that ``dry_run``; ``tag`` and ``was`` of each destination; ``repositories`` with their blobs, manifests and
    lists of referrers; ``create``, where repositories would be made if they are missing.
    """
    document = report_document(found.report)
    document["dry_run"] = True
    destinations = document["destinations"]
    assert isinstance(destinations, list)
    for destination, tag in zip(destinations, found.tags, strict=True):
        destination |= {"tag": tag.state, "was": tag.old or None}
    document["repositories"] = [_repository_json(entry) for entry in found.repositories]
    if found.creations:
        document["create"] = [
            {"repository": entry.repository, "exists": entry.exists, "how": entry.how, "problem": entry.why or None}
            for entry in found.creations
        ]
    return json.dumps(document, indent=2) + "\n"


def _repository_json(found: RepositoryPreview) -> dict[str, object]:
    return {
        "repository": found.name,
        "exists": found.exists,
        "created": found.created,
        "blobs": [_part_json(part) for part in found.blobs],
        "manifests": [_part_json(part) for part in found.manifests],
        "referrers": [{"tag": entry.tag, "state": entry.state} for entry in found.referrers],
    }


def _part_json(part: Part) -> dict[str, object]:
    descriptor = part.descriptor
    document: dict[str, object] = {"digest": str(descriptor.digest), "size": descriptor.size, "how": part.how}
    return {**document, "from": part.source} if part.source else document
