"""A real engine and real registries for every test of this folder; those are made of what is in buildopt/sandbox."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildopt.engine import daemon, packages
from buildopt.engine.connection import Engine
from buildopt.engine.folders import Folders
from buildopt.sandbox import base_images
from buildopt.sandbox.certificates import Certificates, make_certificates
from buildopt.sandbox.registries import ECR, GHCR, RunningRegistry, start_ecr, start_ghcr, stopped_after
from buildopt.sandbox.tokens import User

GHCR_USERS = (
    User("octocat", "secret"),
    User("reader", "reader-secret", ("pull",)),
    User("", "", ("pull",), ("public/*",)),
)
ECR_PASSWORD = "ecr-secret"


@pytest.fixture(scope="session")
def engine_downloads() -> Path:
    """Where engines of tests have their programs from: below $BUILDOPT_TEST_CACHE, else the user's own downloads."""
    cache = os.environ.get("BUILDOPT_TEST_CACHE")
    return Path(cache) / "engine" if cache else Folders.at().downloads


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry that the engine asks before Docker Hub; empty until ``base_image`` puts images into it."""
    folder = tmp_path_factory.mktemp("mirror")
    with base_images.mirror(folder, {}) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)  # gigabytes, which pytest would keep until the third run from now


@pytest.fixture(scope="session")
def mirror_url(mirror: RunningRegistry) -> str:
    """The mirror's address."""
    return mirror.url


@pytest.fixture(scope="session")
def base_image(mirror: RunningRegistry) -> Callable[[str], Path]:
    """Makes a base image, such as ``python:3.11-slim``, unless it is there, and serves it to the engine.

    It returns the image's OCI layout. Making one takes up to a minute, once.
    """

    def prepare(name: str) -> Path:
        layouts = base_images.prepare([name])
        base_images.fill_mirror(mirror.folder, layouts)
        return layouts[name]

    return prepare


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory, engine_downloads: Path, mirror_url: str) -> Iterator[Engine]:
    """A private engine for all tests of a session, with no image and no cache at first."""
    folder = tmp_path_factory.mktemp("engine")
    with daemon.private_engine(folder, downloads=engine_downloads, registry_mirrors=(mirror_url,)) as engine:
        yield engine
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def busybox_context(tmp_path_factory: pytest.TempPathFactory, engine_downloads: Path) -> Path:
    """A build context with statically linked ``busybox-amd64`` and ``busybox-arm64`` to put into ``FROM scratch``."""
    context = tmp_path_factory.mktemp("busybox")
    for architecture in ("amd64", "arm64"):
        tree = tmp_path_factory.mktemp(architecture)
        packages.fetch(
            ["busybox-static"],
            suite=packages.running_suite(),
            prefix=tree,
            cache=engine_downloads / "packages",
            architecture=architecture,
        )
        program = next(path for path in (tree / "bin/busybox", tree / "usr/bin/busybox") if path.is_file())
        shutil.copy(program, context / f"busybox-{architecture}")
    return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA and a server certificate for loopback, ghcr.io and ECR's name."""
    return make_certificates(tmp_path_factory.mktemp("certificates") / "made", (GHCR, ECR))


@pytest.fixture(scope="session")
def ghcr(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RunningRegistry]:
    """A registry with tokens like ghcr.io: octocat/secret, reader/reader-secret, anonymous pulls of public/*."""
    folder: Path = tmp_path_factory.mktemp("ghcr")
    with stopped_after(start_ghcr(folder, certificates, GHCR_USERS)) as running:
        yield running


@pytest.fixture(scope="session")
def ecr(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RunningRegistry]:
    """A registry with basic auth like ECR: user AWS, password ecr-secret."""
    folder: Path = tmp_path_factory.mktemp("ecr")
    with stopped_after(start_ecr(folder, certificates, ECR_PASSWORD)) as running:
        yield running
