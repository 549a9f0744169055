"""Secrets in a Dockerfile. The tokens are put together here: nothing in this repository looks like one."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from buildopt.dockerfile.lint import lint
from buildopt.finding import Severity
from buildopt.report.text import findings_text
from buildopt.settings import LintSettings
from buildopt.source import Source

LETTERS = string.ascii_letters + string.digits
TOKENS = [
    "ghs" + "_" + LETTERS[:36],
    "github" + "_pat_" + LETTERS[:22] + "_" + LETTERS[:59],
    "glpat" + "-" + LETTERS[:20],
    "npm" + "_" + LETTERS[:36],
    "pypi" + "-AgEIcHlwaS5vcmc" + LETTERS + LETTERS,
    "xoxb" + "-" + "1234567890-1234567890-" + LETTERS[:24],
    "https://hooks.slack.com" + "/services/" + "T0123ABCD/B0123ABCD/" + LETTERS[:24],
    "AKIA" + "QWERTYUIOPASDFGH",
    "aws_secret_access_key=" + LETTERS[:40],
    "AIza" + LETTERS[:35],
    "sk" + "_live_" + LETTERS[:24],
    "dckr" + "_pat_" + LETTERS[:27],
    "hf" + "_" + string.ascii_letters[:34],
    "sk" + "-proj-" + LETTERS[:20] + "T3Blb" + "kFJ" + LETTERS[:20],
    "SG" + "." + LETTERS[:22] + "." + LETTERS[:43],
    "dop" + "_v1_" + "0123456789abcdef" * 4,
    "-----BEGIN RSA " + "PRIVATE KEY-----\\n" + LETTERS + "\\n",
]
PLACES = ["RUN tool {}", "ENV A={}", "ARG A={}", "LABEL a={}", "ADD https://acme.dev/?t={} /x", "ONBUILD RUN tool {}"]


def hits(text: str) -> list[str]:
    found = lint(Source("Dockerfile", text), LintSettings(select=("secret-in-command",)))
    assert all(finding.fix is None for finding in found)
    return [findings_text([finding]) for finding in found]


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token[:6])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.split()[0])
def test_tokens_are_found_everywhere_and_never_shown(token: str, place: str) -> None:
    text = "FROM alpine:3\n" + place.format(f'"{token}"' if "\\n" in token else token) + "\n"
    found = lint(Source("Dockerfile", text), LintSettings(select=("secret-in-command",)))
    assert [finding.severity for finding in found] == [Severity.ERROR]
    assert LETTERS[:16] not in findings_text(found) and token not in findings_text(found)


@pytest.mark.parametrize(
    "text",
    [
        "ARG T=" + TOKENS[0] + "\nFROM alpine:3",
        "FROM alpine:3\nRUN <<EOF\ntool " + TOKENS[0] + "\nEOF",
        "FROM alpine:3\nRUN a && \\\n  tool " + TOKENS[0],
        "FROM a\nARG PASS\nRUN pip install -i https://u:${PASS}@pypi.acme.dev/simple x",
        "FROM a\nENV GH_TOKEN=\nRUN git clone https://${GH_TOKEN}:x-oauth-basic@github.com/a/b",
        "FROM a\nARG T_TOKEN\nRUN git config --global url.https://$T_TOKEN:@github.com/.insteadOf https://github.com/",
        "FROM a\nRUN git clone https://0123456789abcdef0123:x-oauth-basic@github.com/a/b",
        "FROM a\nRUN psql postgres://app:s3cr3t-1x@db.acme.dev/app",
    ],
)
def test_more_places(text: str) -> None:
    assert len(hits(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "# " + TOKENS[0] + "\nFROM alpine:3",
        "FROM alpine:3\nRUN a && \\\n# " + TOKENS[0] + "\n b",
        "FROM a\nARG PASS\nRUN PASS=$(cat /run/secrets/p) && curl https://u:${PASS}@acme.dev",
        "FROM a\nARG TOKEN\nRUN echo https://\\$TOKEN@acme.dev",
        "FROM a\nARG TOKEN\nRUN echo 'https://$TOKEN@acme.dev'",
        "FROM a\nRUN curl https://u:${PASS}@acme.dev",
        "FROM a\nRUN curl http://user:password@proxy.acme.dev http://127.0.0.1:80/a@b",
        "FROM a\nRUN curl -u $USER:$PASS https://acme.dev -H 'Authorization: Bearer {{ token }}'",
        'FROM a\nRUN kubectl create secret --token=$TOKEN --password="$(pass)" --password= --api-key <key>',
        "FROM a\nRUN mongo --username root --password password123 && mysqladmin --password=root",
        "FROM a\nENV A=AKIA${X}",
    ],
)
def test_what_is_no_secret(text: str) -> None:
    assert hits(text) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("legacy-peer-deps=true\n", 0),
        ("//r/:_authToken=${NPM_TOKEN}\n", 0),
        ("//r/:_authToken=0123456789\n", 1),
        (None, 1),
    ],
)
def test_an_npmrc_without_credentials_is_no_secret(tmp_path: Path, text: str | None, count: int) -> None:
    if text is not None:
        (tmp_path / ".npmrc").write_text(text)
    source = Source(str(tmp_path / "Dockerfile"), "FROM node:22\nCOPY .npmrc package.json ./\n")
    found = lint(source, LintSettings(select=("secret-file-copied",)))
    assert [finding.severity for finding in found] == [Severity.INFO] * count
