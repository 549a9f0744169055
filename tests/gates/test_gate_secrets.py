"""Secrets in layers, history, settings and provenance; and what looks like one and is none."""

from __future__ import annotations

import base64
import io
import json
import random
import string
from pathlib import Path

import gate_images
import pytest

from buildopt.errors import ArtifactError
from buildopt.gates.secret_gate import SecretScan, secret_in_stream
from buildopt.gates.secret_values import is_secret, masked

LETTERS = string.ascii_letters + string.digits
# Made up here, so that no scanner of this repository takes them for real ones.
RANDOM = random.Random(7)


def letters(count: int, alphabet: str = LETTERS) -> str:
    return "".join(RANDOM.choice(alphabet) for _ in range(count))


KEY = f"-----BEGIN {'RSA'} PRIVATE KEY-----\n" + "\n".join(letters(64) for _ in range(6)) + "\n-----END"
GITHUB = "ghp" + "_" + letters(36)
TOKENS = {
    "GitHub": GITHUB,
    "GitHub, fine-grained": "github_pat" + "_" + letters(22) + "_" + letters(59),
    "GitLab": "glpat" + "-" + letters(20),
    "npm": "npm" + "_" + letters(36),
    "PyPI": "pypi" + "-AgEIcHlwaS5vcmc" + letters(60),
    "Slack": "xoxb" + "-123456789012-123456789012-" + letters(24),
    "Google": "AIza" + letters(35),
    "Stripe": "sk" + "_live_" + letters(24),
    "AWS": "aws_access_key_id = AKIA" + letters(16, string.ascii_uppercase) + "\nsecret = " + letters(39) + "/\n",
    "key": KEY,
    "key in JSON": json.dumps({"private_key": KEY}),
    "key in code": "KEY = (\n    " + "\n    ".join(f'"{line}\\n"' for line in KEY.splitlines()) + "\n)\n",
    "encrypted key": KEY.replace("\n", "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1),
    "armoured key": f"-----BEGIN {'PGP'} PRIVATE KEY BLOCK-----\nVersion: x\n\n{letters(64)}\n=abcd\n-----END",
}


def found(path: str, data: bytes | str) -> str | None:
    return secret_in_stream(path, io.BytesIO(data.encode() if isinstance(data, str) else data))


@pytest.mark.parametrize("text", TOKENS.values(), ids=TOKENS.keys())
@pytest.mark.parametrize("around", ["{}", "const token = '{}';\n", 'x: "{}"\n# end', "\r\n{}\r\n"])
def test_tokens_and_keys_are_found_in_texts(text: str, around: str) -> None:
    assert found("app/settings.py", around.replace("{}", text)) is not None


@pytest.mark.parametrize("offset", [-5, 0, 3, 1 << 20, (1 << 20) - 20, (1 << 20) - 5000, 2 << 20])
def test_a_token_is_found_wherever_it_lies_in_a_large_file(offset: int) -> None:
    noise = b"just words and more of them\n" * 120_000
    place = offset % len(noise)
    data = noise[:place] + b" " + GITHUB.encode() + b" " + noise[place:]
    assert found("app/big.log", data) == "a GitHub token"
    assert found("app/big.log", noise) is None


HARMLESS = {
    "a public key": "-----BEGIN PUBLIC KEY-----\n" + "A" * 64 + "\n-----END PUBLIC KEY-----",
    "a certificate": "-----BEGIN CERTIFICATE-----\n" + "A" * 64 + "\n-----END CERTIFICATE-----",
    "code that looks for a key": 'if data.startswith("-----BEGIN RSA PRIVATE KEY-----"):\n    return parse(data)\n',
    "a key that is left out": "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "an id of AWS without its secret": "role AKIA"
    + "A" * 15
    + "B and a checksum "
    + "0123456789abcdef" * 2
    + "01234567",
    "the example of AWS": "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "a placeholder": "token: ghp" + "_" + "x" * 36,
    "a longer word": "prefix_npm" + "_" + "a" * 36,
    "npm's own variables": "npm_config_registry npm_package_json",
    "a short one": "ghp" + "_short",
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_only_looks_like_a_secret_is_none(text: str) -> None:
    assert found("app/readme.txt", text) is None


def test_binary_files_count_only_where_a_token_has_its_check_sum() -> None:
    assert found("app/module.pyc", b"\0\0" + GITHUB.encode()) is None
    body = "0123456789abcdefghijABCDEFGHIJ"
    import zlib

    number, digits = zlib.crc32(body.encode()), ""
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    while number:
        number, digit = divmod(number, 62)
        digits = alphabet[digit] + digits
    assert found("app/module.pyc", b"\0\0ghp_" + (body + digits.rjust(6, "0")).encode() + b"\0") == "a GitHub token"


AUTH = base64.b64encode(b"user:hunter2").decode()
FILES = {
    "root/.ssh/id_rsa": "-----BEGIN OPENSSH PRIVATE KEY-----\nfake\n",
    "app/server.key": "-----BEGIN PRIVATE KEY-----\nMII\n",
    "app/.env": "DB_PASSWORD=hunter2\n",
    "app/.env.production": "export STRIPE_SECRET_KEY='abc123def456'\n",
    "app/prod.env": "DATABASE_URL=postgres://app:hunter2@db/app\n",
    "root/.npmrc": "//registry.npmjs.org/:_authToken=abcdef\n",
    "app/.yarnrc.yml": "npmAuthToken: abcdef\n",
    "root/.netrc": "machine example.org login me password hunter2\n",
    "root/.pypirc": "[pypi]\nusername = me\npassword = hunter2\n",
    "root/.aws/credentials": "[default]\naws_access_key_id=AKIA1\naws_secret_access_key=wJalr/K7MDENG\n",
    "root/.docker/config.json": json.dumps({"auths": {"ghcr.io": {"auth": AUTH}}}),
    "kaniko/.docker/config.json": json.dumps({"auths": {"ghcr.io": {"identitytoken": "x"}}}),
    "root/.dockercfg": json.dumps({"ghcr.io": {"auth": AUTH}}),
    "root/.git-credentials": "https://me:hunter2@github.com\n",
    "src/.git/config": '[remote "origin"]\n\turl = https://x-access-token:abc123@github.com/a/b\n',
    "src2/.git/config": f'[http "https://github.com/"]\n\textraheader = AUTHORIZATION: basic {AUTH}\n',
    "etc/pip.conf": "[global]\nindex-url = https://me:hunter2@pypi.example.org/simple\n",
    "root/.pgpass": "db:5432:app:app:hunter2\n",
    "root/.kube/config": "users:\n- name: a\n  user:\n    client-key-data: LS0tLS1\n",
    "root/.config/gh/hosts.yml": "github.com:\n    oauth_token: abcdefgh\n",
    "root/.cargo/credentials.toml": '[registry]\ntoken = "abcdef"\n',
    "root/.m2/settings.xml": "<server><password>hunter2</password></server>",
}


@pytest.mark.parametrize("path", FILES)
def test_files_that_are_known_by_their_names(path: str) -> None:
    assert found(path, FILES[path]) is not None


EMPTY_HANDED = {
    "root/.ssh/id_rsa.pub": "ssh-rsa AAAA me@here\n",
    "root/.ssh/known_hosts": "github.com ssh-rsa AAAA\n",
    "etc/ssl/certs/ca.pem": "-----BEGIN CERTIFICATE-----\nMII\n",
    "app/.env": "NODE_ENV=production\nPORT=3000\nAPI_TOKEN=\nPASSWORD=changeme\nSECRET=${SECRET}\nTOKEN_TTL=15m\n",
    "app/.env.example": "DB_PASSWORD=hunter2\n",
    "root/.npmrc": "//registry.npmjs.org/:_authToken=${NPM_TOKEN}\nregistry=https://registry.npmjs.org\n",
    "root/.netrc": "machine example.org login me\n",
    "root/.docker/config.json": json.dumps({"credsStore": "desktop", "auths": {"ghcr.io": {}}}),
    "odd/.docker/config.json": "[" * 100_000,
    "src/.git/config": '[remote "origin"]\n\turl = git@github.com:a/b\n',
    "root/.m2/settings.xml": "<server><password>${env.PASSWORD}</password></server>",
    "root/.aws/credentials": "[default]\nrole_arn=arn:aws:iam::1:role/x\n",
    "usr/share/doc/app/id_rsa": KEY,
    "usr/lib/python3/dist-packages/twisted/test/server.pem": KEY,
    "usr/local/lib/python3.11/test/certdata/keycert.pem": KEY,
    "opt/pyenv/versions/3.12.1/lib/python3.12/test/certdata/nosan.pem": KEY,
    "app/node_modules/https-proxy/test/key.pem": KEY,
    "usr/local/go/src/crypto/tls/testdata/key.pem": KEY,
    "etc/ssl/private/ssl-cert-snakeoil.key": KEY,
}


@pytest.mark.parametrize("path", EMPTY_HANDED)
def test_the_same_files_without_a_secret_and_keys_of_packages_are_fine(tmp_path: Path, path: str) -> None:
    source, image = gate_images.make(tmp_path, gate_images.layer({path: EMPTY_HANDED[path].encode()}))
    assert SecretScan(source).secrets(image) == []


def test_a_file_that_a_later_layer_removes_is_still_there(tmp_path: Path) -> None:
    layers = [
        gate_images.layer({"app/id_rsa": KEY.encode(), "srv/a/b/.env": b"A_TOKEN=abc"}),
        gate_images.layer({"app/id_rsa": None, "srv/a": None}, packed=False),
        gate_images.layer({"web/index.html": KEY.encode()}),
    ]
    steps = ["COPY . /app", "#ENV A=b", "RUN rm -r x", "COPY web /web"]
    source, image = gate_images.make(tmp_path, *layers, steps=steps)
    assert [str(secret) for secret in SecretScan(source).secrets(image)] == [
        "a private key in /app/id_rsa (COPY . /app), removed later, but still in its layer",
        "variables with secrets in /srv/a/b/.env (COPY . /app), removed later, but still in its layer",
        "a private key in /web/index.html (COPY web /web)",
    ]
    allowed = SecretScan(source, ["/app/*", "srv/**", "web/*.html"])
    assert allowed.secrets(image) == []


def test_settings_and_history_are_looked_through_and_no_value_is_told(tmp_path: Path) -> None:
    settings = {
        "Env": [
            "PATH=/bin",
            "NPM_TOKEN=s3cr3t-value",
            "GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568",
            "MODE=token",
        ],
        "Labels": {"maintainer": "me", "api.token": "s3cr3t-value"},
        "Cmd": ["app", "--db", "postgres://app:s3cr3t-value@db/app"],
    }
    steps = [
        "#ENV NPM_TOKEN=s3cr3t-value",
        "#ARG GITHUB_TOKEN=s3cr3t-value",
        "#RUN |2 SIGNING_KEY_PASSWORD=s3cr3t value VERSION=1 /bin/sh -c make # buildkit",
        "#RUN /bin/sh -c curl -H 'Authorization: Bearer s3cr3t-value' https://example.org # buildkit",
        '#RUN /bin/sh -c TOKEN=$(cat /run/secrets/token) PASSWORD="$PASSWORD" make # buildkit',
        "#RUN /bin/sh -c export GNUPGHOME=\"$(mktemp -d)\"; key='B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8'; gpg $key",
    ]
    source, image = gate_images.make(tmp_path, settings=settings, steps=steps)
    lines = [str(secret) for secret in SecretScan(source).secrets(image)]
    assert [line.split(" (")[0] for line in lines] == [
        "a secret in ENV NPM_TOKEN",
        "a secret in LABEL api.token",
        "a password in an address in CMD",
        "a secret in step 2 of the history",
        "a secret in step 3 of the history",
        "an Authorization header in step 4 of the history",
    ]
    assert "s3cr3t" not in " ".join(lines)


def test_build_arguments_in_the_provenance_are_found(tmp_path: Path) -> None:
    statement = {"args": {"build-arg:NPM_TOKEN": "s3cr3t-value", "build-arg:VERSION": "1.2"}}
    source, image = gate_images.make(tmp_path, predicates=["https://slsa.dev/provenance/v1"], statement=statement)
    assert [str(secret) for secret in SecretScan(source).secrets(image)] == [
        "a secret in the provenance (build argument NPM_TOKEN)"
    ]


@pytest.mark.parametrize(
    "data",
    [b"\x1f\x8bnot gzip", gate_images.layer({"a": b"x" * 5000})[:-20], b"no tar at all" * 100, b"\x28\xb5\x2f\xfdzz"],
)
def test_a_layer_that_cannot_be_read_is_not_passed(tmp_path: Path, data: bytes) -> None:
    source, image = gate_images.make(tmp_path, data)
    with pytest.raises(ArtifactError) as caught:
        SecretScan(source).secrets(image)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("API_KEY", "abc", True),
        ("apiKey", "abc", True),
        ("MYSQL_ROOT_PASSWORD", "root", True),
        ("MYSQL_RANDOM_ROOT_PASSWORD", "yes", False),
        ("POSTGRES_PASSWORD_FILE", "/run/secrets/db", False),
        ("SSH_KEY", "/root/.ssh/id_rsa", False),
        ("TOKENIZERS_PARALLELISM", "false", False),
        ("JWT_TOKEN_TTL", "15m", False),
        ("PUBLIC_KEY", "MIIBIjANBg12345", False),
        ("SORT_KEY", "name", False),
        ("LICENSE_KEY", "<your key>", False),
        ("DATABASE_URL", "postgres://app:hunter2@db/app", True),
        ("DATABASE_URL", "postgres://app:$PASSWORD@db/app", False),
        ("PYTHON_VERSION", "3.11.2", False),
        ("KEYBOARD", "abc123def456ghi", False),
        ("key", "B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8", False),
        ("key", "B97B0AFCAA1A47F044F244A07FCC", True),
    ],
)
def test_names_and_values_of_settings(name: str, value: str, secret: bool) -> None:
    assert is_secret(name, value) == secret


@pytest.mark.parametrize(
    "text",
    [
        "snyk test --token=hunter2x {oci}",
        "snyk test --api-key 'hunter2x y'",
        "SNYK_TOKEN=hunter2x snyk test",
        'curl -H "Authorization: Bearer hunter2x"',
        "grype registry:https://me:hunter2x@example.org/x",
        "password: hunter2x",
        f"echo {GITHUB}",
    ],
)
def test_commands_are_shown_without_secrets(text: str) -> None:
    assert "hunter2x" not in masked(text)
    assert GITHUB not in masked(text)
    assert "***" in masked(text)


def test_commands_without_secrets_are_shown_as_they_are() -> None:
    text = "trivy image --input {oci} --exit-code 1 --secret-config x.yaml && test $TOKEN"
    assert masked("trivy image --input {oci} && test $TOKEN") == "trivy image --input {oci} && test $TOKEN"
    assert masked(text).startswith("trivy image --input {oci} --exit-code 1")
