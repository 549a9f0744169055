"""Splitting .NET files: which runtime image, what is shipped, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import optimize
from buildopt.dockerfile.parse import parse
from buildopt.source import Source

SDK = "FROM mcr.microsoft.com/dotnet/sdk:"
BUILD = "WORKDIR /app\nCOPY . .\nRUN dotnet publish -c Release -o out\n"
START = 'ENTRYPOINT ["dotnet", "out/Shop.dll"]\n'


def project(sdk: str = "Microsoft.NET.Sdk.Web", framework: str = "net8.0", more: str = "") -> str:
    properties = f"<TargetFramework>{framework}</TargetFramework>{more}"
    return f'<Project Sdk="{sdk}"><PropertyGroup>{properties}</PropertyGroup></Project>'


def write(context: Path, files: dict[str, str]) -> None:
    for name, text in {"Shop.csproj": project(), "Program.cs": "var a = 1;\n", **files}.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def split(text: str, context: Path) -> str:
    """The runtime stage."""
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert result.changes, result.refusals
    assert not parse(result.source).errors
    return "FROM " + result.source.text.partition("\nFROM ")[2]


def refusal(text: str, context: Path) -> str:
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert not result.changes
    return result.refusals[0].reason


@pytest.mark.parametrize(
    ("tag", "file", "image"),
    [
        ("8.0", project(), "aspnet:8.0"),
        ("8.0.204", project(), "aspnet:8.0"),
        ("8.0-jammy", project(), "aspnet:8.0-jammy"),
        ("6.0-bullseye-slim", project(framework="net6.0"), "aspnet:6.0-bullseye-slim"),
        ("9.0", project("Microsoft.NET.Sdk", "net9.0"), "runtime:9.0"),
        ("9.0", project("Microsoft.NET.Sdk", "net9.0", '<PackageReference Include="x" />'), "aspnet:9.0"),
    ],
)
def test_runtime_image(tag: str, file: str, image: str, tmp_path: Path) -> None:
    write(tmp_path, {"Shop.csproj": file})
    assert split(f"{SDK}{tag}\n{BUILD}{START}", tmp_path).startswith(f"FROM mcr.microsoft.com/dotnet/{image}\n")


@pytest.mark.parametrize(
    ("own", "written"),
    [
        ("", "ENV ASPNETCORE_URLS= DOTNET_USE_POLLING_FILE_WATCHER=true\n"),
        ("ENV ASPNETCORE_URLS=http://+:5000\n", "ENV DOTNET_USE_POLLING_FILE_WATCHER=true\n"),
        ("ENV DOTNET_USE_POLLING_FILE_WATCHER=1\n", "ENV ASPNETCORE_URLS=\n"),
        ("ENV ASPNETCORE_URLS=http://+:5000 DOTNET_USE_POLLING_FILE_WATCHER=1\n", ""),
    ],
)
def test_settings_of_the_sdk_that_the_file_does_not_make_itself(own: str, written: str, tmp_path: Path) -> None:
    write(tmp_path, {"Shop.csproj": project(framework="net6.0")})
    comment = "# As in the SDK's image\n" if written else ""
    for text in (f"{SDK}6.0\n{own}{BUILD}{START}", f"{SDK}6.0\n{BUILD}{own}{START}"):
        runtime = split(text, tmp_path)
        assert runtime.startswith(f"FROM mcr.microsoft.com/dotnet/aspnet:6.0\n{comment}{written}")
        assert runtime.count("ENV ") == bool(own) + bool(written)
        assert own in runtime


@pytest.mark.parametrize(
    ("rest", "published"),
    [
        (f"{BUILD}{START}", "/app/out"),
        ("WORKDIR /src\nCOPY . .\nRUN dotnet publish --output=/app\nCMD dotnet /app/Shop.dll\n", "/app"),
        ("COPY . /src\nRUN cd /src && dotnet publish -o /app\nWORKDIR /app\nCMD dotnet Shop.dll\n", "/app"),
        (f"{BUILD}ENV DLL=out/Shop.dll\nCMD dotnet $DLL\n", "/app/out"),
        (f"{BUILD}WORKDIR out\nENTRYPOINT dotnet Shop.dll\n", "/app/out"),
    ],
)
def test_what_is_published(rest: str, published: str, tmp_path: Path) -> None:
    write(tmp_path, {})
    assert f"COPY --from=build {published} {published}\n" in split(f"{SDK}8.0\n{rest}", tmp_path)


def test_content_of_the_folder_that_it_starts_in(tmp_path: Path) -> None:
    write(tmp_path, {"appsettings.json": "{}", "wwwroot/a.css": "", "Models/A.cs": "", "Views/A.cshtml": "<p>"})
    runtime = split(f"{SDK}8.0\n{BUILD}{START}", tmp_path)
    for path in ("/app/appsettings.json", "/app/wwwroot", "/app/Views"):
        assert f"COPY --from=build {path} {path}\n" in runtime
    assert "Models" not in runtime
    started_inside = split(f"{SDK}8.0\n{BUILD}WORKDIR out\nCMD dotnet Shop.dll\n", tmp_path)
    assert started_inside.count("COPY") == 1


@pytest.mark.parametrize(
    ("tag", "rest", "files", "reason"),
    [
        ("8.0", f"{BUILD}CMD dotnet out/Other.dll\n", {}, "no project of the context makes Other.dll"),
        ("8.0", f"{BUILD}CMD dotnet Shop.dll\n", {}, "no RUN is known to publish"),
        ("8.0", f"{BUILD}CMD out/Shop\n", {}, "which the smaller image may lack"),
        ("8.0", f"{BUILD}CMD dotnet watch run\n", {}, "is not a published program"),
        ("8.0", f"{BUILD}HEALTHCHECK CMD curl localhost\n{START}", {}, "health check"),
        ("8.0", f"{BUILD}RUN rm -rf out\n{START}", {}, "is removed again"),
        ("8.0", f"{BUILD}RUN dotnet tool install -g dotnet-ef\n{START}", {}, "may make what is needed"),
        ("8.0", f"ARG O\nWORKDIR /app\nCOPY . .\nRUN dotnet publish -o $O\n{START}", {}, "depends on a variable"),
        ("8.0", f"{BUILD}{START}", {"Shop.csproj": project(more="<PublishAot>true</PublishAot>")}, "PublishAot"),
        ("8.0", f"{BUILD}{START}", {"Shop.csproj": project(framework="net7.0")}, "is for net7.0"),
        ("8.0", f"{BUILD}{START}", {"A.cs": "new ProcessStartInfo()"}, "ProcessStartInfo"),
        ("latest", f"{BUILD}{START}", {}, "is not known"),
        ("8.0-cbl-mariner", f"{BUILD}{START}", {}, "is not known"),
        ("3.1", f"{BUILD}{START}", {}, "is not known"),
    ],
)
def test_refused(tag: str, rest: str, files: dict[str, str], reason: str, tmp_path: Path) -> None:
    write(tmp_path, files)
    assert reason in refusal(f"{SDK}{tag}\n{rest}", tmp_path)
