"""Packages of the system are installed before files are copied, where these have nothing to do with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import Optimized, optimize
from buildopt.source import Source

FILES = {"Makefile": "", "src/a.c": "", "own.deb": "", "bin/gcc": "", "requirements.txt": "flask\n", "setup.sh": ""}
INSTALL = "RUN apt-get update && apt-get install -y make gcc && rm -rf /var/lib/apt/lists/*\n"


def run(folder: Path, text: str, files: Mapping[str, str] = FILES) -> Optimized:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    result = optimize(Source("Dockerfile", text), folder, only=("order_layers",))
    assert not optimize(result.source, folder, only=("order_layers",)).changes
    return result


MOVED = {
    "all sources": (
        f"FROM debian\nWORKDIR /app\nCOPY . .\n{INSTALL}RUN make\n",
        f"FROM debian\nWORKDIR /app\n{INSTALL}COPY . .\nRUN make\n",
    ),
    "a manifest, several copies and their comments": (
        f"FROM debian\nWORKDIR /app\n\n# Sources\nCOPY Makefile .\nCOPY src ./src\n\n{INSTALL}\nRUN make\n",
        f"FROM debian\nWORKDIR /app\n\n{INSTALL}\n# Sources\nCOPY Makefile .\nCOPY src ./src\n\nRUN make\n",
    ),
    "other managers, and a name that is a file's": (
        "FROM alpine\nCOPY . /app\nRUN apk add --no-cache Makefile\nRUN cd /app && make\n",
        "FROM alpine\nRUN apk add --no-cache Makefile\nCOPY . /app\nRUN cd /app && make\n",
    ),
    "a setting in between": (
        f"FROM debian\nWORKDIR /app\nCOPY . .\nENV A=b\n{INSTALL}",
        f"FROM debian\nWORKDIR /app\nENV A=b\n{INSTALL}COPY . .\n",
    ),
    "a user of its own": (
        f"FROM debian\nWORKDIR /app\nCOPY --chown=1:1 . .\nUSER root\n{INSTALL}",
        f"FROM debian\nWORKDIR /app\nUSER root\n{INSTALL}COPY --chown=1:1 . .\n",
    ),
    "a search path elsewhere": (
        f'FROM debian\nENV PATH="/opt/x/bin:$PATH"\nWORKDIR /app\nCOPY . .\n{INSTALL}',
        f'FROM debian\nENV PATH="/opt/x/bin:$PATH"\nWORKDIR /app\n{INSTALL}COPY . .\n',
    ),
    "folders elsewhere": (
        "FROM debian\nCOPY src /srv/app\nRUN mkdir -p /var/log/app && apt-get install -y gcc && rm -rf /tmp/*\n",
        "FROM debian\nRUN mkdir -p /var/log/app && apt-get install -y gcc && rm -rf /tmp/*\nCOPY src /srv/app\n",
    ),
    "windows line ends, lower case, no line break at the end": (
        f"from debian\r\nworkdir /app\r\ncopy . .\r\n{INSTALL}".strip(),
        f"from debian\r\nworkdir /app\r\n{INSTALL.strip()}\r\ncopy . .",
    ),
}
LEFT = {
    "a package of the sources": "FROM debian\nWORKDIR /app\nCOPY . .\nRUN apt-get install -y ./own.deb\n",
    "a package by a variable": "FROM debian\nARG P\nWORKDIR /app\nCOPY . .\nRUN apt-get install -y $P\n",
    "packages that a file lists": "FROM debian\nWORKDIR /app\nCOPY . .\nRUN apt-get install -y $(cat packages)\n",
    "a script of the sources beside it": "FROM debian\nWORKDIR /app\nCOPY . .\nRUN ./setup.sh && apt-get install gcc\n",
    "sources of packages are copied": f"FROM debian\nCOPY src /etc/apt/sources.list.d/\n{INSTALL}",
    "programs are copied": f"FROM debian\nCOPY bin /usr/local/bin/\n{INSTALL}",
    "the root": f"FROM debian\nCOPY . /\n{INSTALL}",
    "a search path in the sources": f"FROM debian\nENV PATH=/app/bin:$PATH\nWORKDIR /app\nCOPY . .\n{INSTALL}",
    "a search path that is not known": f'FROM debian\nENV PATH="$V/bin:$PATH"\nWORKDIR /app\nCOPY . .\n{INSTALL}',
    "libraries in the sources": f"FROM debian\nENV LD_LIBRARY_PATH=/app/bin\nWORKDIR /app\nCOPY . .\n{INSTALL}",
    "what is bound": "FROM debian\nCOPY . /app\nRUN --mount=type=bind,target=/x apt-get install -y gcc\n",
    "another folder": f"FROM debian\nWORKDIR /app\nCOPY . .\nWORKDIR /b\n{INSTALL}",
    "a build in between": f"FROM debian\nWORKDIR /app\nCOPY . .\nRUN make\n{INSTALL}",
    "a folder that the RUN makes": "FROM debian\nCOPY . /app\nRUN mkdir -m 700 /app && apt-get install -y gcc\n",
    "a home": f"FROM debian\nCOPY . /root\n{INSTALL}",
    "a server that an earlier RUN installs": (
        "FROM debian\nCOPY src /var/www/html/\nRUN apt-get update && apt-get install -y apache2\n"
        "RUN apt-get update && apt-get install -y curl\n"
    ),
    "a package that an earlier RUN installs": (
        "FROM debian\nCOPY src /opt/grafana\nRUN apt-get install -y grafana\nRUN apt-get install -y curl\n"
    ),
    "packages of an earlier RUN that are not known": (
        "FROM debian\nARG P\nCOPY src /opt/x/y\nRUN apt-get install -y $P\nRUN apt-get install -y curl\n"
    ),
    "a folder in the one that the copy makes": (
        "FROM debian\nCOPY --chown=1:1 src /srv/app\nRUN mkdir -p /srv/app/data && apt-get install -y gcc\n"
    ),
    "a folder beside the copy's, in one that neither finds": (
        "FROM debian\nCOPY --chown=1:1 src /opt/app/web\nRUN mkdir -p /opt/app/data && apt-get install -y gcc\n"
    ),
    "such a folder by another way": (
        "FROM debian\nCOPY --chown=1:1 src /srv/app/web\nRUN cd /srv && mkdir -p app/data\nRUN apt-get install -y gcc\n"
    ),
    "such a folder by a variable": (
        "FROM debian\nCOPY --chown=1:1 src /srv/app/web\nRUN mkdir -p $D/data\nRUN apt-get install -y gcc\n"
    ),
    "a home that a user gets": "FROM debian\nCOPY src /home/web/site\nRUN useradd -m web\nRUN apt-get install -y gcc\n",
    "a home elsewhere": "FROM debian\nCOPY src /srv/a/b\nRUN useradd -m -d /srv/a web\nRUN apt-get install -y gcc\n",
    "a home that a user gets in the same RUN": (
        "FROM debian\nCOPY src /home/web/site\nRUN apt-get install -y gcc && useradd -m web\n"
    ),
    "another image's files": f"FROM debian\nCOPY --from=busybox /bin /app\n{INSTALL}",
}


@pytest.mark.parametrize("name", MOVED)
def test_copies_sink_below_the_installation(name: str, tmp_path: Path) -> None:
    before, after = MOVED[name]
    result = run(tmp_path, before)
    assert result.source.text == after
    assert result.changes[0].title == (
        f"install packages of the system before files are copied: {'apk add' if 'apk' in before else 'apt-get install'}"
    )


@pytest.mark.parametrize("name", LEFT)
def test_they_stay_where_they_may_matter(name: str, tmp_path: Path) -> None:
    assert run(tmp_path, LEFT[name]).source.text == LEFT[name]


def test_nothing_moves_without_a_context() -> None:
    text = f"FROM debian\nWORKDIR /app\nCOPY . .\n{INSTALL}"
    assert optimize(Source("Dockerfile", text), None, only=("order_layers",)).source.text == text
