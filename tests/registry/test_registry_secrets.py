"""What was sent is never shown, in whatever form a server repeats it."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import artifacts
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Handler, scripted_registry

from buildopt.cli import main
from buildopt.registry import retry
from buildopt.registry.failure import Answer
from buildopt.registry.secrets import Secrets

ODD = 'p4ss&w<o>rd"\\x é'


def as_go(text: str) -> str:
    """JSON as Go's encoder writes it."""
    written = json.dumps(text, ensure_ascii=False)[1:-1]
    return written.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def in_numbers(text: str) -> str:
    return "".join(f"\\u{ord(letter):04X}" for letter in text)


@pytest.mark.parametrize("form", [as_go, in_numbers, lambda text: json.dumps(text)[1:-1]])
def test_json_may_be_written_in_many_ways(form: Callable[[str], str]) -> None:
    secrets = Secrets()
    secrets.add([ODD])
    body = '{"errors": [{"code": "DENIED", "message": "bad password ' + form(ODD) + '"}]}'
    cleaned = Answer(403, {}, secrets.hide_in(body.encode()))
    assert cleaned.problem() == ("DENIED", "bad password ***")


@given(st.text("".join(map(chr, range(32, 0x200))), min_size=4), st.text(), st.text())
def test_it_is_hidden_wherever_it_stands(secret: str, before: str, after: str) -> None:
    secrets = Secrets()
    secrets.add([secret])
    assert secret not in secrets.hide(f"{before}{secret}{after}").replace("***", "\0")
    assert isinstance(secrets.hide_in(f"{before}{secret}{after}".encode("utf-8", "surrogatepass")), bytes)


def test_what_is_no_secret_stays() -> None:
    secrets = Secrets()
    assert secrets.hide("any words") == "any words"
    secrets.add(["hush-hush", ""])
    body = b'{"errors": [{"code": "A", "message": "b", "detail": [1, 2.5, null, true]}]}'
    assert json.loads(secrets.hide_in(body)) == json.loads(body)
    assert secrets.hide_in(b"\xff no JSON, HUSH-hush \xfe") == b"\xff no JSON, *** \xfe"


ECHOES: dict[str, Callable[[Handler, str], bool]] = {
    "the host of a redirect": lambda handler, password: handler.answer(307, Location=f"https://{password}.invalid/x"),
    "the digest of what was stored": lambda handler, password: handler.answer(
        201, Docker_Content_Digest=f"sha256:{password}"
    ),
    "an error code": lambda handler, password: handler.error(403, password, ""),
}


@pytest.mark.parametrize("echo", ECHOES)
def test_nothing_of_an_answer_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], echo: str
) -> None:
    password = "a-long-secret-1"
    artifacts.make_layout(tmp_path / "layout")
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    sent = base64.b64encode(f"me:{password}".encode()).decode()
    find = socket.getaddrinfo

    def look(host: str, *words: Any, **more: Any) -> Any:
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return find(host, *words, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)

    def answer(handler: Handler) -> bool:
        if handler.headers.get("Authorization") != f"Basic {sent}":
            return handler.error(401, "UNAUTHORIZED", "who?", WWW_Authenticate="Basic realm=x")
        manifest = handler.command == "PUT" and "/manifests/" in handler.path
        if manifest if echo.startswith("the digest") else handler.command == "POST":
            return ECHOES[echo](handler, password)
        return False

    with scripted_registry() as registry:
        registry.fault = answer
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": sent}}}))
        words = ["push", f"{registry.host}/acme/app:1", "--from-oci", "layout", "--report", "report.json"]
        assert main(words) == 4
    out, err = capfd.readouterr()
    shown = out + err + Path("report.json").read_text() + Path("summary.md").read_text()
    assert password not in shown and sent not in shown
