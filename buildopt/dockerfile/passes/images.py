"""What is known of base images by their names: the distribution, and who runs a RUN."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from buildopt.dockerfile.manager import word_set
from buildopt.dockerfile.passes.accounts import Account

# Registries that serve Docker's official images under their own names.
_MIRRORS = (
    "docker.io/library/",
    "index.docker.io/library/",
    "registry-1.docker.io/library/",
    "public.ecr.aws/docker/library/",
    "mirror.gcr.io/library/",
    "docker.io/",
    "index.docker.io/",
    "mirror.gcr.io/",
    "library/",
)

# Images whose RUN starts as root with /root as its home.
_ROOT = word_set(
    "alpine almalinux amazoncorretto amazonlinux archlinux buildpack-deps busybox caddy centos clojure composer debian "
    "drupal eclipse-temurin elixir erlang fedora gcc golang haskell httpd ibmjava joomla julia mariadb maven "
    "mono mysql nextcloud nginx node openjdk oraclelinux perl php postgres pypy python r-base redis "
    "rockylinux ros ruby rust sapmachine swift tomcat traefik ubuntu wordpress"
)
_ROOT_PREFIXES = (
    "nvidia/cuda",
    "nvcr.io/nvidia/",
    "pytorch/pytorch",
    "tensorflow/tensorflow",
    "continuumio/",
    "mcr.microsoft.com/dotnet/",
    "mcr.microsoft.com/playwright",
    "tiangolo/",
    "rustlang/rust",
    "lukemathwalker/cargo-chef",
    "clux/muslrust",
    "oven/bun",
    "condaforge/",
    "hexpm/elixir",
    "opensuse/",
    "registry.opensuse.org/opensuse/",
    "quay.io/centos/centos",
    "quay.io/fedora/fedora",
    "registry.fedoraproject.org/fedora",
    "azul/zulu-openjdk",
    "bellsoft/liberica-openjdk",
    "ghcr.io/astral-sh/uv",
    "osrf/ros",
    "phusion/baseimage",
    "public.ecr.aws/amazonlinux/",
)
_DEBIAN = word_set(
    "buildpack-deps debian drupal erlang elixir gcc golang haskell httpd julia mariadb mono mysql nginx "
    "node openjdk perl php postgres pypy python r-base redis ruby rust tomcat wordpress"
)
_UBUNTU = frozenset(("ubuntu", "eclipse-temurin", "swift", "ros"))
_UBI = re.compile(r"(?:registry\.access\.redhat\.com/|redhat/)?ubi[0-9]+(?:/ubi(?:-minimal|-init)?|-minimal|-init)?")
# What official images set that moves a cache.
_ENVIRONMENTS = {
    **{name: {"CARGO_HOME": "/usr/local/cargo"} for name in ("rust", "rustlang/rust", "lukemathwalker/cargo-chef")},
    "golang": {"GOPATH": "/go"},
    "composer": {"COMPOSER_HOME": "/tmp"},
    "ruby": {"GEM_HOME": "/usr/local/bundle"},
}
# Images that start in another folder than /.
_FOLDERS = {
    "golang": "/go",
    "composer": "/app",
    "oven/bun": "/home/bun/app",
    "gradle": "/home/gradle",
    "public.ecr.aws/lambda/python": "/var/task",
    "public.ecr.aws/lambda/nodejs": "/var/task",
    "amazon/aws-lambda-python": "/var/task",
    "amazon/aws-lambda-nodejs": "/var/task",
}
_ACCOUNTS = {
    "node": (Account("node", 1000, "/home/node"),),
    "oven/bun": (Account("bun", 1000, "/home/bun"),),
    "gradle": (Account("gradle", 1000, "/home/gradle"),),
}
_SUITES = {
    "debian": "stretch buster bullseye bookworm trixie forky sid debian",
    "ubuntu": "xenial bionic focal jammy noble ubuntu ubuntu16.04 ubuntu18.04 ubuntu20.04 ubuntu22.04 ubuntu24.04",
    "alpine": "alpine",
}


@dataclass(frozen=True, slots=True)
class Image:
    """A base image by its name, mirrors of the official images resolved."""

    repository: str
    tag: str
    digest: str

    @property
    def runs_as_root(self) -> bool:
        """Whether it is known that a RUN is root, at home in /root."""
        if self.repository == "gradle":  # before version 6 it was another user
            return re.match(r"[1-5]\.", self.tag) is None
        known = self.repository in _ROOT or self.repository.startswith(_ROOT_PREFIXES)
        return known or _UBI.fullmatch(self.repository) is not None

    @property
    def folder(self) -> str | None:
        """The working folder that the image sets, None where it is / or not known."""
        if self.repository == "php":
            return "/var/www/html" if re.search(r"(?:^|-)(?:apache|fpm)(?:-|$)", self.tag) else None
        return _FOLDERS.get(self.repository)

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that the image sets, as far as they matter to a cache."""
        return MappingProxyType(_ENVIRONMENTS.get(self.repository, {}))

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Users that the image has, beside root."""
        if self.repository == "gradle" and "ubi" in self.tag:
            return ()
        return _ACCOUNTS.get(self.repository, ())

    @property
    def sets_home(self) -> bool:
        """Whether the image is known to set HOME, which then holds for root too."""
        return re.search(r"jupyter|gitpod|codercom|cimg/|circleci/|rabbitmq", self.repository) is not None

    @property
    def windows(self) -> bool:
        """Whether it is a Windows image."""
        text = f"{self.repository}:{self.tag}".lower()
        return bool(re.search(r"windows|nanoserver|servercore|dotnet/framework|\bltsc[0-9]", text))

    @property
    def distribution(self) -> str:
        """``debian``, ``ubuntu``, ``alpine``, or the image's own name where it is not known."""
        words = re.split(r"[-_:/]", self.tag.lower())
        for name, suites in _SUITES.items():
            if any(word.startswith("alpine") if name == "alpine" else word in suites.split() for word in words):
                return name
        if self.repository in _UBUNTU or self.repository == "nvidia/cuda":
            return "ubuntu"
        if self.repository in _DEBIAN:
            return "debian"
        if self.repository == "alpine":
            return "alpine"
        return re.sub(r"[^a-z0-9.]+", "-", self.repository.lower()).strip("-") or "base"

    @property
    def release(self) -> str:
        """The distribution with what the tag tells of its release: content made on it may not suit another one."""
        words = [word for word in re.split(r"[-_]", self.tag.lower()) if word not in ("", "slim", "latest")]
        short = self.repository.rsplit("/", 1)[-1].lower()
        return re.sub(r"[^a-z0-9.]+", "-", "-".join([short, *words])).strip("-") or "base"


def image(reference: str) -> Image:
    """Take an image reference apart; a missing tag is ``latest``."""
    name, _, digest = reference.partition("@")
    for mirror in _MIRRORS:
        if name.startswith(mirror):
            name = name[len(mirror) :]
            break
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, "latest"
    return Image(repository, tag, digest)
