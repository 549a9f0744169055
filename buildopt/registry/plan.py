"""What is to be pushed where."""

from __future__ import annotations

from dataclasses import dataclass

from buildopt.errors import ArtifactError, UsageError
from buildopt.oci.descriptor import Digest, load_json
from buildopt.oci.layout import ArtifactSource, Image, ImageManifest, wrong_size
from buildopt.oci.reference import Reference
from buildopt.settings import Creation

BULK_JOBS = 6
"""Large blobs that are sent at once to one destination: more would not make a line faster."""
BULK_AHEAD = 3
"""Further ones that are begun, up to their first byte, so that no line waits for a registry to get ready."""
SMALL_JOBS = 16
"""Other requests that are under way at once beside them: they cost round trips, not bytes."""
SMALL = 4_000_000
"""Bytes up to which a blob is small."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reference to push to, with its tag or digest. ``optional``: its failure is reported, not fatal.

    ``create``: its repository is made first where there is none.
    """

    reference: Reference
    optional: bool = False
    create: Creation | None = None


@dataclass(frozen=True, slots=True)
class PushPlan:
    """What is to be pushed where. ``source`` and ``image`` are an artifact that was opened and resolved.

    ``jobs`` bounds all that is under way at once at one registry; None leaves that to ``BULK_JOBS`` and ``SMALL_JOBS``.
    """

    source: ArtifactSource
    image: Image
    targets: tuple[Target, ...]
    jobs: int | None = None

    @property
    def repositories(self) -> tuple[tuple[Target, ...], ...]:
        """The targets, those of one repository together: its blobs are sent once."""
        groups: dict[str, list[Target]] = {}
        for target in self.targets:
            groups.setdefault(target.reference.name, []).append(target)
        return tuple(tuple(group) for group in groups.values())


def one_platform(image: Image, platform: str, source: ArtifactSource | None = None) -> Image:
    """The image of one platform on its own, without attestations. Raises UsageError where there is none or several.

    A name without its variant stands for one with it, where none is called that exactly. With ``source`` the config
    tells the platform of what has none in its descriptor, as of the single image of a layout.
    """
    wanted = (platform if "/" in platform else f"linux/{platform}").lower()
    names = {entry.descriptor.digest: (_platform_of(entry, source), entry) for entry in image.platforms}
    found = [entry for name, entry in names.values() if name == wanted]
    found = found or [entry for name, entry in names.values() if name.startswith(f"{wanted}/")]
    if len(found) != 1:
        held = ", ".join(name for name, _ in names.values() if name)
        what = "no image" if not found else "more than one image"
        raise UsageError(f"the artifact holds {what} for {platform}", hint=f"it holds: {held or 'one without a name'}")
    return Image(found[0].descriptor, found[0].manifest, image.names, (found[0],), ())


def _platform_of(entry: ImageManifest, source: ArtifactSource | None) -> str:
    """The name of a manifest's platform, empty where it is not told."""
    if entry.platform is not None:
        return str(entry.platform)
    config = entry.manifest.config
    if source is None or not source.has(config.digest):
        return ""
    try:
        document = load_json(source.read(config.digest), "the config")
    except ArtifactError:
        return ""  # no image's, or one too large to be read
    parts = (document.get(key) for key in ("os", "architecture", "variant"))
    return "/".join(part for part in parts if isinstance(part, str) and part)


def check(plan: PushPlan) -> None:
    """Raises ArtifactError as ``check_sizes`` does, UsageError where a target's own digest is another one."""
    check_sizes(plan.source, plan.image)
    for target in plan.targets:
        if target.reference.digest not in (None, plan.image.digest):
            raise UsageError(
                f"{target.reference} names another digest than the artifact's {plan.image.digest}",
                hint="leave out the digest",
            )


def check_sizes(source: ArtifactSource, image: Image) -> None:
    """Raises ArtifactError for the first blob that is missing, unreadable or of another size than a descriptor says.

    Every descriptor counts: several may name the same blob, and each reader goes by its own one.
    """
    sizes: dict[Digest, int] = {}
    for blob in (blob for entry in image.manifests for blob in entry.manifest.blobs):
        if blob.digest not in sizes and source.has(blob.digest):
            with source.blob(blob.digest) as opened:  # not its size alone: that can be known of what cannot be read
                sizes[blob.digest] = opened.size
        if blob.digest not in sizes and blob.data is None and not blob.foreign:
            source.size(blob.digest)  # raises, naming it
        elif blob.size != sizes.get(blob.digest, blob.size):
            raise wrong_size(source.path, blob, sizes[blob.digest])
