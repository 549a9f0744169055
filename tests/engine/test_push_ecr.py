"""Pushing to a real registry that takes the password of ECR, with that password from the API of AWS."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import artifacts
import pytest
from aws import ECR, api_server

from buildopt.cli import main
from buildopt.registry import client
from buildopt.sandbox.certificates import Certificates
from buildopt.sandbox.registries import RunningRegistry

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("known", ["nobody", "of-yesterday", "ecr-secret"])
def test_the_password_comes_from_aws_where_docker_has_no_good_one(
    ecr: RunningRegistry,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    known: str,
) -> None:
    asked: list[str] = []

    def answer(operation: str, values: dict[str, object]) -> tuple[int, dict[str, object]]:
        asked.append(operation)
        if operation == "CreateRepository":
            return 400, {"__type": "RepositoryAlreadyExistsException", "message": "it already exists"}
        token = base64.b64encode(b"AWS:ecr-secret").decode()
        return 200, {"authorizationData": [{"authorizationToken": token, "expiresAt": 4102444800}]}

    artifacts.make_layout(tmp_path / "layout", size=500_000)
    entry = {"auth": base64.b64encode(f"AWS:{known}".encode()).decode()}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {} if known == "nobody" else {ECR: entry}}))
    # The name leads to this machine without a change to its hosts file.
    monkeypatch.setattr(client, "endpoint", lambda name: ecr.authority if name == ECR else name)
    settings = {
        "HOME": tmp_path,
        "DOCKER_CONFIG": tmp_path,
        "SSL_CERT_FILE": certificates.bundle,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    with api_server(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        ref = f"{ECR}/from-aws/{len(known)}:1"
        assert main(["push", "--create", ref, "--from-oci", "layout", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["destinations"][0]["ok"]
    assert "hush-hush" not in out + err
    assert "ecr-secret" not in out + err
    assert asked == ["CreateRepository"] + ([] if known == "ecr-secret" else ["GetAuthorizationToken"])
