"""Push the same image to a registry over TLS with buildopt, crane and oras, by turns, each to an empty repository.

Usage: python benchmarks/push.py [ROUNDS] [MEGABYTES]
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from buildopt import process
from buildopt.sandbox import programs
from buildopt.sandbox.certificates import make_certificates
from buildopt.sandbox.registries import registry_server

LAYERS = 10
KIND = "application/vnd.oci.image"


def blob(folder: Path, data: bytes, media_type: str) -> dict[str, object]:
    """Write a blob; its descriptor."""
    name = hashlib.sha256(data).hexdigest()
    (folder / "blobs" / "sha256" / name).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}


def make_image(folder: Path, megabytes: int) -> None:
    """An image of ten random layers as a layout."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    size = megabytes * 1_000_000 // LAYERS
    layers = [blob(folder, os.urandom(size), f"{KIND}.layer.v1.tar+gzip") for _ in range(LAYERS)]
    config = blob(folder, b'{"os":"linux","architecture":"amd64"}', f"{KIND}.config.v1+json")
    kind = f"{KIND}.manifest.v1+json"
    document = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}
    manifest = blob(folder, json.dumps(document).encode(), kind)
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": "x"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def main() -> None:
    """Print each tool's median and best wall time, and buildopt's share of the better peer's."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 630
    with tempfile.TemporaryDirectory(prefix="buildopt-bench-") as name:
        folder = Path(name)
        make_image(folder / "image", megabytes)
        certificates = make_certificates(folder / "certificates")
        environment = {"PATH": os.environ["PATH"], "HOME": name, "SSL_CERT_FILE": str(certificates.bundle)}
        crane, oras = (programs.from_suite(tool, tool) for tool in ("crane", "oras"))
        image = str(folder / "image")
        own = [sys.executable, "-m", "buildopt", "push"]
        tools: dict[str, Callable[[str], list[str]]] = {
            "buildopt": lambda ref: [*own, ref, "--from-oci", image, "--quiet"],
            "crane": lambda ref: [crane, "push", "--index", image, ref],
            "oras": lambda ref: [oras, "cp", "--from-oci-layout", f"{image}:x", ref],
        }
        times: dict[str, list[float]] = {tool: [] for tool in tools}
        for number in range(rounds):
            for tool, argv in tools.items():
                # A registry of its own each time: an empty one, and no tool pays for what another left to be written.
                with registry_server(folder / f"{tool}{number}", tls=certificates) as running:
                    os.sync()
                    began = time.perf_counter()
                    process.run(argv(f"{running.authority}/bench/app:1"), env=environment)
                    times[tool].append(time.perf_counter() - began)
                process.run(["rm", "-r", folder / f"{tool}{number}"])
    for tool, seconds in times.items():
        print(f"{tool:10} median {statistics.median(seconds):.2f} s   best {min(seconds):.2f} s")
    for word, figure in (("median", statistics.median), ("best", min)):
        peer = min(figure(times["crane"]), figure(times["oras"]))
        print(f"buildopt's {word} is {figure(times['buildopt']) / peer:.2f} of the better peer's")


if __name__ == "__main__":
    main()
