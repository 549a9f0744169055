"""``buildopt engine config``: what makes a builder of several machines."""

from __future__ import annotations

import json
import shlex

import click

from buildopt.commands.common import Output, output_options
from buildopt.engine import node_config
from buildopt.errors import UsageError

EXAMPLES = """\b
Examples:
  buildopt engine config --node amd64=tcp://10.0.0.1:1234 --node arm64=tcp://10.0.0.2:1234 --tls /certs | sh
  buildopt engine config --node amd64=ssh://ci@amd64.example --node arm64=ssh://ci@arm64.example
  buildopt engine config --driver kubernetes --node amd64 --node arm64 --manifest | kubectl apply -f -
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--node", "nodes", multiple=True, metavar="PLATFORMS[=WHERE]", help="A machine, and the platforms it is for."
)
@click.option("--name", default="native", show_default=True, metavar="NAME", help="What the builder is called.")
@click.option("--driver", type=click.Choice(node_config.DRIVERS), help="How to reach the nodes (told by WHERE).")
@click.option("--namespace", default="buildkit", show_default=True, metavar="NS", help="For --driver kubernetes.")
@click.option("--tls", default="", metavar="DIR", help="Folder with ca.pem, cert.pem and key.pem for tcp:// nodes.")
@click.option("--manifest", is_flag=True, help="Print what Kubernetes needs before, for kubectl apply.")
@output_options()
def config(
    nodes: tuple[str, ...], name: str, driver: str | None, namespace: str, tls: str, manifest: bool, output: Output
) -> None:
    """Print the commands that make a builder of several machines, so that each platform builds where it is native.

    WHERE is the address of a BuildKit (tcp://HOST:PORT, unix:///PATH) or of a Docker engine (ssh://USER@HOST, or a
    docker context); without one, nodes are pods in the cluster that kubectl uses. Nothing is run: pipe the result to
    sh. Then build-once --builder NAME builds each platform on its own machine, and puts all into one image.
    """
    if not nodes:
        raise UsageError("no node is named", hint="such as --node amd64=tcp://10.0.0.1:1234")
    machines = tuple(_machine(text) for text in nodes)
    driver = driver or node_config.choose_driver(machines)
    found = node_config.check(node_config.NodeConfig(name, driver, machines, namespace, tls))
    if manifest and driver != "kubernetes":
        raise UsageError("--manifest is for --driver kubernetes", hint="leave it out")
    for warning in found.warnings():
        click.echo(f"warning: {warning}", err=True)
    if output.json:
        document = {
            "version": 1,
            "builder": name,
            "driver": driver,
            "commands": found.commands(),
            "build": found.building(),
            "manifest": found.manifest() if driver == "kubernetes" else None,
        }
        output.result(json.dumps(document) + "\n")
    elif manifest:
        output.result(found.manifest())
    else:
        output.result("".join(f"{shlex.join(words)}\n" for words in found.commands()))
        output.message(f"then: {shlex.join(found.building())}")


def _machine(text: str) -> node_config.Machine:
    from buildopt.build.plan import platforms

    words, _, where = text.partition("=")
    return node_config.Machine(platforms([words]), where)
