"""What people hear about their caches, and what becomes of a cache in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from buildopt.build import cache, cache_advice, local_cache
from buildopt.build.buildx import lost, survived
from buildopt.build.plan import BuildPlan, Options, make
from buildopt.build.progress import Progress, Step
from buildopt.errors import BuildoptError, ToolError
from buildopt.oci import lock
from buildopt.settings import Settings, load

WITH_GHA = {"GITHUB_ACTIONS": "true", "ACTIONS_RUNTIME_TOKEN": "t", "ACTIONS_RESULTS_URL": "https://r"}


def made(
    folder: Path, *caches: str, names: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> BuildPlan:
    (folder / "Dockerfile").write_text("FROM scratch\n")
    return make(Options(caches=caches, names=names), Settings(), folder, environment)


def configured(folder: Path, text: str) -> Settings:
    (folder / "buildopt.yaml").write_text(text)
    return load(folder / "buildopt.yaml")


def test_a_cache_that_buildx_would_leave_out_is_named(tmp_path: Path) -> None:
    plan = made(tmp_path, "gha")
    assert "outside GitHub Actions" in next(cache_advice.before(plan, Settings(), {}))
    assert "ACTIONS_RUNTIME_TOKEN" in next(cache_advice.before(plan, Settings(), {"GITHUB_ACTIONS": "true"}))
    assert list(cache_advice.before(plan, Settings(), WITH_GHA)) == []


def test_a_tag_writes_no_cache_that_nobody_can_read(tmp_path: Path) -> None:
    tag = {**WITH_GHA, "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1"}
    plan = made(tmp_path, "gha", environment=tag)
    assert "--cache-to" not in plan.arguments(Path("/l"), Path("/m"), Path("/d"))
    assert "read only" in next(cache_advice.before(plan, Settings(), tag))


def test_a_cache_over_an_image_is_named(tmp_path: Path) -> None:
    plan = made(tmp_path, "registry=ghcr.io/acme/app", names=("acme/other",))
    settings = configured(tmp_path, "images: {app: {context: ., to: [ghcr.io/acme/app]}}")
    assert "would overwrite the image ghcr.io/acme/app" in next(cache_advice.before(plan, settings, {}))
    plan = made(tmp_path, "registry=ghcr.io/acme/app:cache")
    assert list(cache_advice.before(plan, settings, {})) == []


def test_images_that_share_a_place_are_named(tmp_path: Path) -> None:
    text = "images: {a: {context: a, cache: ['%s']}, b: {context: b, cache: ['%s']}}"
    for one in ("gha=scope=x", "gha,scope=x", "registry=a/b:cache", "local=dir"):
        settings = configured(tmp_path, text % (one, one))
        assert "a and b share the cache" in next(cache_advice.before(made(tmp_path), settings, {})), one
    settings = configured(tmp_path, text % ("gha", "gha"))
    assert list(cache_advice.before(made(tmp_path), settings, {})) == [], "each has a scope of its own"


def test_what_failed_is_said_and_a_cache_that_is_not_there_yet_is_not(tmp_path: Path) -> None:
    caches = (cache.parse("registry=r.example/c:x", tmp_path),)
    reading = Step("1", "importing cache manifest from r.example/c:x", "", error="failed: r.example/c:x: not found")
    writing = Step("2", "exporting cache to registry", "", error="dial tcp:\n refused")
    lines = list(cache_advice.after((reading, writing), caches, 0))
    assert lines == ["the cache registry=r.example/c:x was not written: dial tcp: refused"]


def test_an_image_that_fills_githubs_cache(tmp_path: Path) -> None:
    large = 3 * 10**9
    assert "3.0 of the 10 GB" in next(cache_advice.after((), made(tmp_path, "gha").caches, large))
    assert list(cache_advice.after((), made(tmp_path, "gha,mode=min").caches, large)) == []
    assert list(cache_advice.after((), made(tmp_path, "gha").caches, 10**9)) == []


def fill(folder: Path) -> tuple[str, ...]:
    """A cache as BuildKit writes it: an index, a manifest, a layer; and what an earlier one left."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    layer, config, old, manifest = (digit * 64 for digit in "abcd")
    (blobs / layer).write_bytes(b"\x1f\x8b layer")
    (blobs / config).write_text(json.dumps({"layers": [{"blob": f"sha256:{layer}"}]}))
    (blobs / old).write_bytes(b"old")
    (blobs / manifest).write_text(json.dumps({"config": {"digest": f"sha256:{config}"}}))
    (folder / "index.json").write_text(json.dumps({"manifests": [{"digest": f"sha256:{manifest}"}]}))
    return layer, config, manifest


def test_a_folder_does_not_grow_for_ever(tmp_path: Path) -> None:
    kept = fill(tmp_path)
    (tmp_path / "blobs/sha256/notes.txt").write_text("not ours")
    assert local_cache.prune(tmp_path) == 3
    assert sorted(path.name for path in (tmp_path / "blobs/sha256").iterdir()) == [*sorted(kept), "notes.txt"]
    assert local_cache.prune(tmp_path) == 0


def test_a_folder_without_an_index_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "index.json").unlink()
    assert local_cache.prune(tmp_path) == 0


def test_a_folder_is_for_one_build_at_a_time(tmp_path: Path) -> None:
    caches = made(tmp_path, "local=cache").caches
    (tmp_path / "cache").mkdir()
    with (
        lock.writing(tmp_path / "cache"),
        pytest.raises(BuildoptError, match="another build is using"),
        local_cache.held(caches),
    ):
        pytest.fail("it was not held")
    with local_cache.held((*caches, *caches)):
        assert (tmp_path / "cache").is_dir()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    caches = (cache.parse("local=file/x", tmp_path),)
    with pytest.raises(ToolError, match="cannot be made"), local_cache.held(caches):
        pytest.fail("it was made")


def test_whose_folder_it_was(tmp_path: Path) -> None:
    assert local_cache.owned(tmp_path, "api") == ""
    assert local_cache.owned(tmp_path, "api") == ""
    assert local_cache.owned(tmp_path, "web") == "api"


def test_failed_steps_of_a_build_that_went_on() -> None:
    progress = Progress()
    for name in ("importing cache manifest from x", "[1/1] RUN x", "exporting to GitHub Actions Cache"):
        progress.steps[name] = Step(name, name, name, error="no")
    assert [step.name for step in survived(progress)] == [
        "importing cache manifest from x", "exporting to GitHub Actions Cache",
    ]  # fmt: skip


def test_records_that_a_killed_build_left_behind() -> None:
    progress = Progress()
    one, other = "qkiisvhqaebk1l45ygqk76tvf", "v8gu7j04x6hyb23nx9dzav4fb"
    error = (
        f"failed to commit {one} to {other} during finalize: failed to stat active key: snapshot {one} does not exist"
    )
    progress.steps["1"] = Step("1", "[1/1] COPY a /a", "COPY a /a", number=1, error="exit code: 1")
    assert not lost(progress)
    progress.steps["1"] = Step("1", "[1/1] COPY a /a", "COPY a /a", number=1, error=f"{error}: not found")
    assert lost(progress) == {one, other}
    progress = Progress()
    list(progress.feed(f"ERROR: failed to build: failed to solve: {error}: not found\n"))
    assert lost(progress) == {one, other}
