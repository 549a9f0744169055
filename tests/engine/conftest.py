"""Real registries for every test of this folder; what they are made of is in buildopt/sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
