"""``buildopt engine config``: exactly what buildx and Kubernetes are told for a builder of several machines."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml
from click.testing import CliRunner, Result

from buildopt import cli
from buildopt.errors import UsageError


def config(*words: str) -> Result:
    done = CliRunner().invoke(cli.buildopt, ["engine", "config", *words])
    if isinstance(done.exception, UsageError):
        raise done.exception
    return done


def lines(*words: str) -> list[list[str]]:
    return [shlex.split(line) for line in config(*words).stdout.splitlines()]


def test_the_remote_driver() -> None:
    create = "docker buildx create --name native"
    assert config("--node", "amd64=tcp://10.0.0.1:1234", "--node", "arm64,arm/v7=unix:///run/buildkit.sock").stdout == (
        f"{create} --driver remote --node native-amd64 --platform linux/amd64 tcp://10.0.0.1:1234\n"
        f"{create} --append --driver remote --node native-arm64 --platform linux/arm64,linux/arm/v7"
        " unix:///run/buildkit.sock\n"
    )


def test_tls_is_for_tcp_alone_and_its_absence_is_said() -> None:
    nodes = ["--node", "amd64=tcp://a:1", "--node", "arm64=unix:///b"]
    first, second = lines(*nodes, "--tls", "/my certs")
    assert first[-7:] == [
        "--driver-opt", "cacert=/my certs/ca.pem", "--driver-opt", "cert=/my certs/cert.pem", "--driver-opt",
        "key=/my certs/key.pem", "tcp://a:1",
    ]  # fmt: skip
    assert "--driver-opt" not in second
    assert "tcp://a:1 is used without TLS" in config(*nodes).stderr
    assert "warning" not in config(*nodes, "--tls", "x").stderr


def test_the_docker_container_driver() -> None:
    first, second = lines("--node", "amd64=ssh://ci@amd64.example", "--node", "arm64=pi", "--name", "farm")
    create = ["docker", "buildx", "create", "--name", "farm"]
    driver = ["--driver", "docker-container", "--node"]
    assert first == [
        *create,
        *driver,
        "farm-amd64",
        "--platform",
        "linux/amd64",
        "--bootstrap",
        "ssh://ci@amd64.example",
    ]
    assert second == [*create, "--append", *driver, "farm-arm64", "--platform", "linux/arm64", "--bootstrap", "pi"]


def test_the_kubernetes_driver() -> None:
    first, second = lines("--node", "amd64", "--node", "arm64", "--namespace", "ci")
    assert first == shlex.split(
        "docker buildx create --name native --driver kubernetes --node native-amd64 --platform linux/amd64"
        " --driver-opt namespace=ci --driver-opt nodeselector=kubernetes.io/arch=amd64 --bootstrap"
    )
    assert "--append" in second and "nodeselector=kubernetes.io/arch=arm64" in second


def test_the_manifest_for_kubernetes() -> None:
    text = config(
        "--driver", "kubernetes", "--node", "amd64", "--namespace", "ci", "--name", "farm", "--manifest"
    ).stdout
    documents = list(yaml.safe_load_all(text))
    assert [document["kind"] for document in documents] == ["Namespace", "ServiceAccount", "Role", "RoleBinding"]
    namespace, account, role, binding = documents
    assert namespace["metadata"]["name"] == "ci"
    assert all(document["metadata"] == {"name": "farm", "namespace": "ci"} for document in (account, role, binding))
    allowed = {name: rule["verbs"] for rule in role["rules"] for name in rule["resources"]}
    assert allowed["pods/exec"] == ["create"] and "create" in allowed["deployments"]
    assert "*" not in text, "nothing but what the driver does"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "farm", "namespace": "ci"}]
    assert binding["roleRef"]["name"] == "farm"


def test_two_machines_of_one_architecture_have_names_of_their_own() -> None:
    words = ["--driver", "remote", "--node", "amd64=tcp://a:1", "--node", "amd64/v3=tcp://b:1", "--tls", "x"]
    assert [line[line.index("--node") + 1] for line in lines(*words)] == ["native-amd64", "native-amd64-2"]


def test_json() -> None:
    document = json.loads(config("--node", "amd64=unix:///a", "--node", "arm64=unix:///b", "--format", "json").stdout)
    assert (document["version"], document["builder"], document["driver"]) == (1, "native", "remote")
    assert document["commands"][1][:5] == ["docker", "buildx", "create", "--name", "native"]
    assert document["build"][-1] == "linux/amd64,linux/arm64" and document["manifest"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no node is named"),
        (["--node", "amd46=tcp://a:1"], "unknown platform: 'amd46'"),
        (["--node", "=tcp://a:1"], "no platform is named"),
        (["--node", "amd64=tcp://a:1", "--node", "x86_64=tcp://b:1"], "linux/amd64 has two nodes"),
        (["--node", "amd64=tcp://a:1", "--node", "arm64"], "the nodes want different drivers: kubernetes, remote"),
        (["--node", "amd64=tcp://a:1", "--node", "arm64=ssh://b"], "different drivers: docker-container, remote"),
        (["--node", "amd64", "--driver", "remote"], "the node for linux/amd64 has no address"),
        (["--node", "amd64=ssh://b", "--driver", "remote"], "needs BuildKit's own address, not ssh://b"),
        (["--node", "amd64=--use"], "not an address: '--use'"),
        (["--node", "amd64=a b"], "not an address: 'a b'"),
        (["--node", "amd64=x", "--driver", "kubernetes"], "a node in Kubernetes has no address: x"),
        (["--node", "amd64=tcp://a:1", "--name", "-x"], "not a builder's name: '-x'"),
        (["--node", "amd64", "--name", "Big"], "not a builder's name: 'Big'"),
        (["--node", "amd64", "--namespace", "a\nb: c"], "not a namespace"),
        (["--node", "amd64=tcp://a:1", "--manifest"], "--manifest is for --driver kubernetes"),
    ],
)
def test_what_buildx_would_not_take_is_said_before(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        config(*words)
    assert message in caught.value.message and caught.value.hint
