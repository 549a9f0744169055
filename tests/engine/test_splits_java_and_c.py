"""Java and C files are built as one stage and as two: the images hold the same, and the programs say the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import optimize
from buildopt.engine.connection import Engine
from buildopt.prove.proving import prove
from buildopt.prove.smoke import SmokeOptions
from buildopt.source import Source

pytestmark = pytest.mark.engine

MAIN = """package org.example;

import java.nio.file.*;

public class Main {
    public static void main(String[] arguments) throws Exception {
        System.out.println(Files.readString(Path.of("config/words.txt")).strip() + Inner.NUMBER);
        System.out.println(Files.getOwner(Path.of("config/words.txt")) + " " + System.getProperty("user.name"));
    }

    static class Inner {
        static final int NUMBER = Integer.parseInt("7");
    }
}
"""

JAVA = {
    "Dockerfile": """FROM eclipse-temurin:17-jdk
RUN useradd --uid 1234 --create-home app
WORKDIR /srv/app
COPY . .
RUN mkdir classes && javac -d classes src/org/example/Main.java \\
    && jar cfe words.jar org.example.Main -C classes .
RUN chown -R app:app /srv/app
USER app
ENTRYPOINT ["./run.sh"]
""",
    "src/org/example/Main.java": MAIN,
    "config/words.txt": "words\n",
    "run.sh": '#!/bin/sh\nset -e\nexec java $JAVA_OPTS -jar words.jar "$@"\n',
}
CLASSES = {
    "Dockerfile": """FROM eclipse-temurin:17-jdk
WORKDIR /src
COPY . .
RUN javac Main.java
CMD ["java", "Main"]
""",
    "Main.java": MAIN.replace("package org.example;\n\n", ""),
    "config/words.txt": "other\n",
}
C = {
    "Dockerfile": """FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \\
    gcc \\
    libc6-dev \\
    make \\
    zlib1g-dev \\
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN make && make install
WORKDIR /data
CMD ["crc", "/etc/hostname"]
""",
    "Makefile": "PREFIX = /usr/local\nLDLIBS = -lz\n\ncrc: crc.c\n\ninstall: crc\n\tinstall crc $(PREFIX)/bin/crc\n",
    "crc.c": """#include <stdio.h>
#include <zlib.h>

int main(int count, char **words)
{
    printf("%d %s %lx\\n", count, zlibVersion(), crc32(0, (const Bytef *)"abc", 3));
    return words[0] == 0;
}
""",
}


@pytest.mark.parametrize(
    ("files", "images", "smoke", "says"),
    [
        pytest.param(
            JAVA,
            ("eclipse-temurin:17-jdk", "eclipse-temurin:17-jre"),
            "./run.sh",
            "words7\napp app",
            marks=pytest.mark.slow,
        ),
        (CLASSES, ("eclipse-temurin:17-jdk", "eclipse-temurin:17-jre"), "java Main", "other7\nroot root"),
        pytest.param(C, ("debian:bookworm-slim",), "crc", "1 1.2.13 352441c2", marks=pytest.mark.slow),
    ],
    ids=["java-script", "java-classes", "c-library"],
)
def test_two_stages_are_one_image(
    files: dict[str, str],
    images: tuple[str, ...],
    smoke: str,
    says: str,
    engine: Engine,
    base_image: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    for name in images:
        base_image(name)
    context = tmp_path / "context"
    for name, text in files.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    before = Source.read(context / "Dockerfile")
    after = optimize(before, context, only=("split_stages",))
    assert after.changes, after.refusals
    proof = prove(
        before,
        after.source,
        context,
        engine,
        smoke=SmokeOptions((smoke,)),
        scenarios=(),
        folder=tmp_path,
    )
    assert proof.reasons == ()
    assert proof.equal
    for run in proof.smoke:
        assert (run.before.stdout.strip(), run.before.status) == (says, 0), run.before.stderr
        assert run.after.stdout == run.before.stdout
