"""Files that hold secrets by their names, and places where what looks like one is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from buildopt.gates.secret_values import has_key_header, is_secret, is_value, password_in_url, secrets_in

LARGEST = 1 << 20
"""Bytes of such a file that are looked at."""

# Packages bring keys for their own tests and examples along, and texts that show what a token looks like. Scanners that
# many use pass over the same places.
_PASSED_OVER = re.compile(
    r"usr/share/(?!nginx/|caddy/|httpd/|apache2/|www/|app/)|usr/local/share/(?:doc|man|perl|info)/|"
    r"usr/local/go/|(?:.*/)?(?:node_modules|testdata|go/pkg/mod|\.cargo/registry|\.m2/repository|\.gradle/caches)/|"
    r"(?:opt/conda|opt/miniconda3?)/pkgs/|(?:.*/)?google-cloud-sdk/|"
    r"(?:.*/)?lib(?:64)?/python[0-9.]+/(?:.*/)?(?:tests?|idle_test|testing|test_data)/|"
    r"(?:usr/|usr/local/|opt/[^/]+/)?lib(?:64|exec)?/(?:.*/)?(?:tests?|idle_test|testing|test_data|docs?|examples?|"
    r"samples?|fixtures|spec|specs)/|"
    r"(?:.*/)?(?:site-packages|dist-packages|gems|vendor)/(?:.*/)?(?:tests?|testing|test_data|docs?|examples?|"
    r"samples?|fixtures|spec|specs)/|"
    r"etc/ssl/private/ssl-cert-snakeoil\.key$"
)


def passed_over(path: str) -> bool:
    """Whether a path lies where packages keep keys and tokens that are no secrets."""
    return _PASSED_OVER.match(path) is not None


def _settings(pattern: str) -> Callable[[bytes], bool]:
    """A check for a file in which a setting that matches has a value."""
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda data: any(is_value(match[1]) for match in compiled.finditer(_text(data)))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _variables(data: bytes) -> bool:
    for line in _text(data).splitlines():
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*[=:]\s*(.*)", line)
        if match is not None and is_secret(match[1], re.sub(r"\s+#.*", "", match[2])):
            return True
    return next(secrets_in(data), None) is not None


def _addresses(data: bytes) -> bool:
    return password_in_url(_text(data))


def _git(data: bytes) -> bool:
    return _addresses(data) or re.search(r"(?i)extraheader\s*=\s*authorization:\s*\S+\s+\S+", _text(data)) is not None


def _docker(data: bytes) -> bool:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, Mapping):
        return False
    entries = document.get("auths", document)
    found = entries.values() if isinstance(entries, Mapping) else ()
    keys = ("auth", "password", "identitytoken", "registrytoken")
    return any(isinstance(entry, Mapping) and any(entry.get(key) for key in keys) for entry in found)


def _any(*checks: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    return lambda data: any(check(data) for check in checks)


def _filled(data: bytes) -> bool:
    return any(line.strip() and not line.lstrip().startswith(b"#") for line in data.splitlines())


_PASSWORD = _settings(r"^\s*password\s*[=:]\s*(.*)$")
_FILES: tuple[tuple[str, str, Callable[[bytes], bool]], ...] = (
    ("a private key", r"(?:.*[._-])?id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?(?:[._-](?!pub$).*)?", has_key_header),
    ("a private key", r".*\.(?:pem|key|ppk)", has_key_header),
    ("a host's private key", r"ssh_host_\w+_key", has_key_header),
    (
        "variables with secrets",
        r"\.env(?!.*(?:example|sample|template|dist|defaults?)$)(?:\..*)?|[\w.-]+\.env",
        _variables,
    ),
    (
        "an npm token",
        r"\.npmrc|npmrc|\.yarnrc|\.yarnrc\.yml",
        _settings(r"(?:_authToken|_password|_auth|npmAuthToken)[\"']?\s*[=:]\s*(\S+)"),
    ),
    ("a password", r"[._]netrc|auth\.conf", _settings(r"(?:^|\s)password\s+(\S+)")),
    ("a password", r"\.pypirc", _PASSWORD),
    ("a password", r"\.git-credentials", _addresses),
    ("a password", r"\.pgpass|\.vault-token", _filled),
    ("a password", r"\.my\.cnf|\.mylogin\.cnf|\.s3cfg", _settings(r"^\s*(?:password|secret_key)\s*=\s*(.*)$")),
    ("a password in an address", r"pip\.conf|pip\.ini|\.condarc|uv\.toml|sources\.list|\.bowerrc", _addresses),
)
_PATHS: tuple[tuple[str, str, Callable[[bytes], bool]], ...] = (
    ("an AWS secret key", r"\.aws/(?:credentials|config)", _settings(r"(?i)aws_secret_access_key\s*=\s*(\S+)")),
    ("a registry's password", r"(?:\.docker|kaniko|containers)/(?:config|auth)\.json|\.dockercfg", _docker),
    ("a password", r"\.git/config", _git),
    ("a password", r"etc/apt/auth\.conf\.d/.*", _settings(r"(?:^|\s)password\s+(\S+)")),
    ("a cluster's key", r"\.kube/config", _settings(r"(?:client-key-data|token|password):\s*(\S+)")),
    ("a GitHub token", r"\.config/(?:gh/hosts\.yml|hub)", _settings(r"oauth_token:\s*(\S+)")),
    ("a cargo token", r"\.cargo/credentials(?:\.toml)?", _settings(r"^\s*token\s*=\s*(\S+)")),
    ("a RubyGems key", r"\.gem/credentials", _settings(r"^\s*:[\w-]*:\s*(\S+)")),
    (
        "a Composer token",
        r"\.?composer/auth\.json",
        _settings(r"\"(?:password|github\.com|gitlab\.com)\"\s*:\s*\"([^\"]+)\""),
    ),
    ("a Maven password", r"\.m2/settings\.xml", _settings(r"<(?:password|passphrase)>\s*([^<{$\s][^<]*)<")),
    (
        "a Google token",
        r"gcloud/application_default_credentials\.json",
        _settings(r"\"refresh_token\"\s*:\s*\"([^\"]+)"),
    ),
    ("a Terraform token", r"\.terraform\.d/credentials\.tfrc\.json", _settings(r"\"token\"\s*:\s*\"([^\"]+)")),
    ("a Poetry token", r"pypoetry/auth\.toml", _any(_PASSWORD, _settings(r"^\s*\S+\s*=\s*\"(pypi-.*)\""))),
)
_TABLE = tuple(
    (what, re.compile(rf"(?:.*/)?(?:{pattern})", re.DOTALL), check) for what, pattern, check in (*_FILES, *_PATHS)
)
# One look for most names: hardly any file of an image is one of these.
_ANY = re.compile(rf"(?:.*/)?(?:{'|'.join(pattern for _, pattern, _ in (*_FILES, *_PATHS))})", re.DOTALL)


def secret_in_file(path: str, data: bytes) -> str | None:
    """What secret a file holds that is known by its name; None where it is no such file, or holds none."""
    if _ANY.fullmatch(path) is None:
        return None
    return next((what for what, pattern, check in _TABLE if pattern.fullmatch(path) and check(data)), None)
