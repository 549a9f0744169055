"""What buildx has to be told for a builder of several machines, each of which builds its own platforms natively."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from buildopt.errors import UsageError

DRIVERS = ("remote", "docker-container", "kubernetes")
_BUILDKITD = ("tcp://", "unix://", "docker-container://", "podman-container://", "kube-pod://", "ssh+unix://")
_TLS = (("cacert", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem"))
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine and the platforms that it is for. ``where`` is BuildKit's address (remote), a docker context or
    an engine's address (docker-container), or empty (kubernetes: the current context of kubectl)."""

    platforms: tuple[str, ...]
    where: str = ""

    @property
    def architecture(self) -> str:
        """That of its first platform, as Kubernetes labels its nodes."""
        return self.platforms[0].split("/")[1]


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A builder to be made. ``tls`` is a folder with ca.pem, cert.pem and key.pem, for ``tcp://`` addresses."""

    name: str
    driver: str
    machines: tuple[Machine, ...]
    namespace: str = "buildkit"
    tls: str = ""

    def commands(self) -> list[list[str]]:
        """The commands that make the builder, in their order."""
        return [self._create(number, machine) for number, machine in enumerate(self.machines)]

    def _create(self, number: int, machine: Machine) -> list[str]:
        words = ["docker", "buildx", "create", "--name", self.name, *(["--append"] if number else [])]
        words += ["--driver", self.driver, "--node", f"{self.name}-{machine.architecture}{self._again(number)}"]
        words += ["--platform", ",".join(machine.platforms)]
        if self.driver == "kubernetes":
            words += ["--driver-opt", f"namespace={self.namespace}"]
            words += ["--driver-opt", f"nodeselector=kubernetes.io/arch={machine.architecture}"]
        if self.tls and machine.where.startswith("tcp://"):
            for option, file in _TLS:
                words += ["--driver-opt", f"{option}={PurePath(self.tls) / file}"]
        words += [] if self.driver == "remote" else ["--bootstrap"]
        return [*words, *([machine.where] if machine.where else [])]

    def _again(self, number: int) -> str:
        """What tells a machine from one before it of the same architecture."""
        architecture = self.machines[number].architecture
        before = sum(machine.architecture == architecture for machine in self.machines[:number])
        return f"-{before + 1}" if before else ""

    def building(self) -> list[str]:
        """The command that builds on all of them."""
        platforms = [platform for machine in self.machines for platform in machine.platforms]
        return ["buildopt", "build-once", "--builder", self.name, "--platforms", ",".join(platforms)]

    def warnings(self) -> list[str]:
        """What is better known before the builder is made."""
        open_ones = [machine.where for machine in self.machines if machine.where.startswith("tcp://") and not self.tls]
        return [f"{where} is used without TLS: whoever reaches it can build there (--tls DIR)" for where in open_ones]

    def manifest(self) -> str:
        """For kubectl: a service account that may do in the namespace what the kubernetes driver does."""
        return f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {self.namespace}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {self.name}
  namespace: {self.namespace}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {self.name}
  namespace: {self.namespace}
rules:
  - apiGroups: [apps]
    resources: [deployments]
    verbs: [get, list, create, update, delete]
  - apiGroups: [""]
    resources: [configmaps]
    verbs: [get, create, update, delete]
  - apiGroups: [""]
    resources: [pods]
    verbs: [get, list]
  - apiGroups: [""]
    resources: [pods/exec]
    verbs: [create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {self.name}
  namespace: {self.namespace}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {self.name}
subjects:
  - kind: ServiceAccount
    name: {self.name}
    namespace: {self.namespace}
"""


def choose_driver(machines: Sequence[Machine]) -> str:
    """The driver that the addresses tell: BuildKit's own (``tcp://``, ``unix://``) is remote, none is kubernetes, any
    other one is an engine's. Raises UsageError where they tell different ones, for a builder has one driver."""
    told = {
        "kubernetes" if not one.where else "remote" if one.where.startswith(_BUILDKITD) else "docker-container"
        for one in machines
    }
    if len(told) > 1:
        raise UsageError(
            f"the nodes want different drivers: {', '.join(sorted(told))}; a builder has one",
            hint=f"say which: --driver {'|'.join(DRIVERS)}",
        )
    return told.pop()


def check(config: NodeConfig) -> NodeConfig:
    """The same configuration, if buildx would take it. Raises UsageError."""
    good = _LABEL if config.driver == "kubernetes" else _NAME
    if not good.fullmatch(config.name):
        raise UsageError(f"not a builder's name: {config.name!r}", hint="letters, digits and -, such as native")
    if not _LABEL.fullmatch(config.namespace):
        raise UsageError(f"not a namespace: {config.namespace!r}", hint="small letters, digits and -")
    seen: dict[str, str] = {}
    for machine in config.machines:
        if config.driver != "kubernetes" and not machine.where:
            raise UsageError(
                f"the node for {', '.join(machine.platforms)} has no address", hint="write PLATFORM=tcp://HOST:PORT"
            )
        if config.driver == "kubernetes" and machine.where:
            raise UsageError(
                f"a node in Kubernetes has no address: {machine.where}", hint="the current context of kubectl is used"
            )
        if re.search(r"\s", machine.where) or machine.where.startswith("-"):
            raise UsageError(f"not an address: {machine.where!r}", hint="such as tcp://HOST:PORT or ssh://USER@HOST")
        if config.driver == "remote" and not machine.where.startswith(_BUILDKITD):
            raise UsageError(
                f"the remote driver needs BuildKit's own address, not {machine.where}",
                hint="tcp://HOST:PORT or unix:///PATH; an engine's takes --driver docker-container",
            )
        for platform in machine.platforms:
            if platform in seen:
                raise UsageError(f"{platform} has two nodes", hint="buildx would use the first one only; leave one out")
            seen[platform] = machine.where
    return config
