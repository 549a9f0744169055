"""Splitting Java files: which image they run on, which jar it is, what they read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import optimize
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.passes.images import image
from buildopt.dockerfile.splits.java_images import sister
from buildopt.dockerfile.splits.java_project import gradle, maven
from buildopt.source import Source

BOOT = "<build><plugins><plugin><artifactId>spring-boot-maven-plugin</artifactId></plugin></plugins></build>"
POM = "<project><artifactId>shop</artifactId><version>1.2.0</version>{}</project>"
MAIN = "package a;\n\npublic class Main {{\n    public static void main(String[] args) {{\n        {}\n    }}\n}}\n"
START = 'CMD ["java", "-jar", "target/shop-1.2.0.jar"]\n'
BUILD = "WORKDIR /app\nCOPY . .\nRUN ./mvnw -q package\n"


def write(context: Path, files: dict[str, str]) -> None:
    standard = {"pom.xml": POM.format(BOOT), "mvnw": "#!/bin/sh\n", "src/main/java/a/Main.java": MAIN.format("")}
    for name, text in {**standard, **files}.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def split(text: str, context: Path) -> str:
    """The runtime stage; an empty text where the file is left alone."""
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert not parse(result.source).errors
    _, _, runtime = result.source.text.partition("\nFROM ")
    return f"FROM {runtime}" if runtime else ""


def refusal(text: str, context: Path) -> str:
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert not result.changes
    assert result.source.text == text
    return result.refusals[0].reason


@pytest.mark.parametrize(
    ("built_on", "runs_on"),
    [
        ("eclipse-temurin:17", "eclipse-temurin:17-jre"),
        ("eclipse-temurin:17-jdk", "eclipse-temurin:17-jre"),
        ("eclipse-temurin:21-jdk-alpine", "eclipse-temurin:21-jre-alpine"),
        ("eclipse-temurin:21-alpine", "eclipse-temurin:21-jre-alpine"),
        ("eclipse-temurin:17.0.12_7-jdk-jammy", "eclipse-temurin:17.0.12_7-jre-jammy"),
        ("eclipse-temurin:8u382-b05-jdk-focal", "eclipse-temurin:8u382-b05-jre-focal"),
        ("eclipse-temurin:11-jdk-ubi9-minimal", "eclipse-temurin:11-jre-ubi9-minimal"),
        ("maven:3.9-eclipse-temurin-17", "eclipse-temurin:17-jre"),
        ("maven:3.9.6-eclipse-temurin-21-alpine", "eclipse-temurin:21-jre-alpine"),
        ("maven:eclipse-temurin-17", "eclipse-temurin:17-jre"),
        ("maven:3.6.3-jdk-8", "openjdk:8-jre"),
        ("maven:3-openjdk-11-slim", "openjdk:11-jre-slim"),
        ("maven:3-jdk-8-alpine", "openjdk:8-jre-alpine"),
        ("maven:3.9-ibm-semeru-17-focal", "ibm-semeru-runtimes:open-17-jre-focal"),
        ("gradle:8.5-jdk17", "eclipse-temurin:17-jre"),
        ("gradle:jdk21-alpine", "eclipse-temurin:21-jre-alpine"),
        ("openjdk:8", "openjdk:8-jre"),
        ("openjdk:8-jdk-alpine", "openjdk:8-jre-alpine"),
        ("openjdk:11-jdk-slim-bullseye", "openjdk:11-jre-slim-bullseye"),
        ("adoptopenjdk:11-jdk-hotspot", "adoptopenjdk:11-jre-hotspot"),
        ("ibm-semeru-runtimes:open-17-jdk", "ibm-semeru-runtimes:open-17-jre"),
        # Without one of the same kind: none of these has a JRE beside it, or it is not known which one.
        ("openjdk:17", None),
        ("openjdk:17-jdk-slim", None),
        ("openjdk:11-jdk-oraclelinux8", None),
        ("openjdk:latest", None),
        ("maven:3.9", None),
        ("maven:3.8.4-openjdk-17", None),
        ("maven:3-amazoncorretto-17", None),
        ("gradle:6.9-jdk11", None),
        ("gradle:8", None),
        ("eclipse-temurin:22-jdk", None),
        ("eclipse-temurin:17-jre", None),
        ("eclipse-temurin:17-jdk-windowsservercore", None),
        ("eclipse-temurin:17-jdk@sha256:0123", None),
        ("amazoncorretto:17", None),
    ],
)
def test_runtime_image(built_on: str, runs_on: str | None) -> None:
    found = sister(image(built_on))
    assert (f"{found.repository}:{found.tag}" if found is not None else None) == runs_on


def plugin(name: str, configuration: str = "") -> str:
    return (
        f"<build><plugins><plugin><artifactId>{name}</artifactId><configuration>{configuration}</configuration>"
        "</plugin></plugins></build>"
    )


@pytest.mark.parametrize(
    ("pom", "jars", "alone"),
    [
        (POM.format(BOOT), {"shop-1.2.0.jar"}, True),
        (POM.format("<packaging>war</packaging>"), {"shop-1.2.0.war"}, True),
        (POM.format("<build><finalName>app</finalName></build>"), {"app.jar"}, True),
        (POM.format("<build><finalName>${project.artifactId}</finalName></build>"), {"shop.jar"}, True),
        (POM.format(plugin("maven-shade-plugin")),
         {"original-shop-1.2.0.jar", "shop-1.2.0-shaded.jar", "shop-1.2.0.jar"}, True),
        (POM.format(plugin("maven-assembly-plugin", "<descriptorRef>jar-with-dependencies</descriptorRef>")),
         {"shop-1.2.0.jar", "shop-1.2.0-jar-with-dependencies.jar"}, True),
        (POM.format(plugin("spring-boot-maven-plugin", "<classifier>exec</classifier>")),
         {"shop-1.2.0.jar", "shop-1.2.0-exec.jar"}, True),
        (POM.format(plugin("maven-jar-plugin", "<addClasspath>true</addClasspath>")), {"shop-1.2.0.jar"}, False),
        (POM.format(plugin("spring-boot-maven-plugin", "<layout>ZIP</layout>")), {"shop-1.2.0.jar"}, False),
        (POM.format(plugin("maven-antrun-plugin")), None, True),
        ("<project><artifactId>a</artifactId><version>${revision}</version><properties><revision>3</revision></properties>"
         "</project>", {"a-3.jar"}, True),
        ("<project><artifactId>a</artifactId><parent><artifactId>p</artifactId><version>7</version></parent></project>",
         {"a-7.jar"}, True),
        ("<project><artifactId>a</artifactId><version>${unknown}</version></project>", None, False),
        ("<project><artifactId>a</artifactId><version>${a}</version><properties><a>${a}</a></properties></project>",
         None, False),
        ("<!DOCTYPE project [<!ENTITY a 'b'>]><project>&a;</project>", None, False),
        ("no xml at all", None, False),
    ],
)  # fmt: skip
def test_jars_of_maven(pom: str, jars: set[str] | None, alone: bool, tmp_path: Path) -> None:
    (tmp_path / "pom.xml").write_text(pom)
    found = maven(tmp_path, ".", {})
    assert found is not None
    assert found.jars == jars
    assert found.alone == alone


def test_a_parent_of_the_context_gives_version_and_name(tmp_path: Path) -> None:
    (tmp_path / "pom.xml").write_text(
        "<project><artifactId>p</artifactId><version>${v}</version><properties><v>5</v></properties></project>"
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "pom.xml").write_text(
        "<project><artifactId>a</artifactId><parent><artifactId>p</artifactId><version>5</version></parent>"
        "<build><finalName>x-${v}</finalName></build></project>"
    )
    found = maven(tmp_path, "a", {})
    assert found is not None
    assert found.jars == frozenset({"x-5.jar"})
    assert (maven(tmp_path, "a", {"v": "6"}) or found).jars == frozenset({"x-6.jar"})


BOOT_PLUGIN = "plugins {\n    id 'org.springframework.boot' version '3.2.1'\n}\n"


@pytest.mark.parametrize(
    ("script", "settings", "jars"),
    [
        (f"{BOOT_PLUGIN}version = '1.0'\n", "rootProject.name = 'shop'\n", {"shop-1.0.jar", "shop-1.0-plain.jar"}),
        (
            f"{BOOT_PLUGIN}version '1.0'\njar {{\n    enabled = false\n}}\n",
            'rootProject.name = "shop"\n',
            {"shop-1.0.jar"},
        ),
        ('plugins {\n    java\n}\nversion = "1.0"\n', 'rootProject.name = "shop"\n', {"shop-1.0.jar"}),
        ("plugins {\n    java\n}\n", 'rootProject.name = "shop"\n', {"shop.jar"}),
        ("plugins {\n    java\n}\nversion = computed()\n", 'rootProject.name = "shop"\n', None),
        (f"{BOOT_PLUGIN}bootJar {{\n    archiveFileName = 'x.jar'\n}}\n", "rootProject.name = 'shop'\n", None),
        (f"{BOOT_PLUGIN}version = '1.0'\n", "", None),
    ],
)
def test_jars_of_gradle(script: str, settings: str, jars: set[str] | None, tmp_path: Path) -> None:
    (tmp_path / "build.gradle").write_text(script)
    (tmp_path / "settings.gradle").write_text(settings)
    found = gradle(tmp_path, ".", "folder")
    assert found is not None
    assert found.jars == jars


@pytest.mark.parametrize(
    ("code", "files", "shipped"),
    [
        ("", {"config/application.yml": "a: 1\n"}, "/app/config"),
        ("", {".env": "A=1\n"}, "/app/.env"),
        ("", {"src/main/webapp/index.jsp": "x\n"}, "/app/src/main/webapp"),
        ('new File("src/main/resources/a.txt");', {"src/main/resources/a.txt": "x\n"}, "/app/src/main/resources/a.txt"),
        ('new File("src/main/resources/" + name);', {"src/main/resources/a.txt": "x\n"}, "/app/src/main/resources"),
        ('Files.readString(Path.of("README.md"));', {"README.md": "x\n"}, "/app/README.md"),
        ('new FileReader("pom.xml");', {}, "/app/pom.xml"),
        ('new File("target/classes/a.txt");', {}, "/app/target"),
    ],
)
def test_what_it_may_read_is_shipped(code: str, files: dict[str, str], shipped: str, tmp_path: Path) -> None:
    write(tmp_path, {**files, "src/main/java/a/Main.java": MAIN.format(code)})
    runtime = split(f"FROM eclipse-temurin:17-jdk\n{BUILD}{START}", tmp_path)
    assert f"COPY --from=build {shipped} {shipped}\n" in runtime


def test_what_is_ignored_is_not_there_to_be_shipped(tmp_path: Path) -> None:
    write(tmp_path, {"config/a.yml": "a: 1\n", "keys.pem": "x\n", ".dockerignore": "config\n*.pem\n"})
    runtime = split(f"FROM eclipse-temurin:17-jdk\n{BUILD}{START}", tmp_path)
    assert runtime.count("COPY") == 1


def test_what_a_run_removes_is_not_there_to_be_shipped(tmp_path: Path) -> None:
    write(tmp_path, {"config/a.yml": "a: 1\n"})
    runtime = split(f"FROM eclipse-temurin:17-jdk\n{BUILD}RUN rm -rf config\n{START}", tmp_path)
    assert runtime.count("COPY") == 1


@pytest.mark.parametrize(
    "code",
    [
        'new ProcessBuilder("git").start();',
        'Runtime.getRuntime().exec("ls");',
        "javax.tools.ToolProvider.getSystemJavaCompiler();",
        "com.sun.tools.attach.VirtualMachine.attach(pid);",
    ],
)
def test_a_program_that_may_need_the_jdk_keeps_it(code: str, tmp_path: Path) -> None:
    write(tmp_path, {"src/main/java/a/Main.java": MAIN.format(code)})
    assert split(f"FROM eclipse-temurin:17-jdk\n{BUILD}{START}", tmp_path).startswith("FROM eclipse-temurin:17-jdk\n")


def test_a_dependency_that_needs_the_jdk_keeps_it(tmp_path: Path) -> None:
    write(tmp_path, {"pom.xml": POM.format(f"<dependencies><groupId>org.drools</groupId></dependencies>{BOOT}")})
    assert split(f"FROM eclipse-temurin:17-jdk\n{BUILD}{START}", tmp_path).startswith("FROM eclipse-temurin:17-jdk\n")


@pytest.mark.parametrize(
    "start",
    [
        'CMD ["java", "--add-modules", "jdk.incubator.vector", "-jar", "target/shop-1.2.0.jar"]\n',
        'CMD ["java", "-agentlib:jdwp=transport=dt_socket", "-jar", "target/shop-1.2.0.jar"]\n',
        'CMD ["/opt/java/openjdk/bin/java", "-jar", "target/shop-1.2.0.jar"]\n',
        f"HEALTHCHECK CMD nc -z localhost 8080\n{START}",
        "CMD jcmd -l; java -jar target/shop-1.2.0.jar\n",
    ],
)
def test_a_start_that_may_need_the_jdk_keeps_it(start: str, tmp_path: Path) -> None:
    write(tmp_path, {})
    assert split(f"FROM eclipse-temurin:17-jdk\n{BUILD}{start}", tmp_path).startswith("FROM eclipse-temurin:17-jdk\n")


@pytest.mark.parametrize(
    "start",
    [
        "CMD java -jar target/shop-1.2.0.jar\n",
        "CMD exec java $JAVA_OPTS -Dfile.encoding=UTF-8 -jar target/shop-1.2.0.jar --server.port=80\n",
        'ENTRYPOINT ["sh", "-c", "java ${JAVA_OPTS} -jar /app/target/shop-1.2.0.jar"]\n',
        'ENTRYPOINT ["java"]\nCMD ["-jar", "target/shop-1.2.0.jar"]\n',
        "WORKDIR target\nCMD java -jar shop-1.2.0.jar\n",
        "CMD cd target && java -jar shop-1.2.0.jar\n",
        "ENV JAR=target/shop-1.2.0.jar\nCMD java -jar $JAR\n",
        "CMD sleep 5 && java -jar target/shop-1.2.0.jar\n",
        "CMD java -jar target/shop-*.jar\n",
        f"RUN rm -rf target && ./mvnw package\n{START}",
        f"HEALTHCHECK CMD curl -f http://localhost:8080/ || exit 1\n{START}",
    ],
)
def test_ways_to_start(start: str, tmp_path: Path) -> None:
    write(tmp_path, {})
    runtime = split(f"FROM eclipse-temurin:17-jdk\n{BUILD}{start}", tmp_path)
    assert runtime.startswith("FROM eclipse-temurin:17-jre\n")
    assert "COPY --from=build /app/target/shop-1.2.0.jar /app/target/shop-1.2.0.jar\n" in runtime


def test_scripts_that_scripts_run_are_shipped(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "bin/run.sh": "#!/bin/sh\n. bin/settings.sh\nexec sh bin/java.sh\n",
            "bin/settings.sh": "export A=1\n",
            "bin/java.sh": "java -jar target/shop-1.2.0.jar\n",
        },
    )
    runtime = split(f'FROM eclipse-temurin:17-jdk\n{BUILD}CMD ["bin/run.sh"]\n', tmp_path)
    for name in ("run", "settings", "java"):
        assert f"/app/bin/{name}.sh" in runtime


def test_wait_for_it(tmp_path: Path) -> None:
    write(tmp_path, {"wait.sh": "#!/bin/sh\nshift\nuntil nc -z db 1; do sleep 1; done\n"})
    start = 'CMD ["./wait.sh", "db", "--", "java", "-jar", "target/shop-1.2.0.jar"]\n'
    runtime = split(f"FROM eclipse-temurin:17-jdk-alpine\nRUN apk add netcat-openbsd\n{BUILD}{start}", tmp_path)
    assert runtime.startswith("FROM eclipse-temurin:17-jdk-alpine\nRUN apk add netcat-openbsd\n")
    assert "COPY --from=build /app/wait.sh /app/wait.sh\n" in runtime


def test_users_packages_and_owners_are_repeated(tmp_path: Path) -> None:
    write(tmp_path, {"data/a.txt": "x\n"})
    text = f"""FROM eclipse-temurin:17-jdk
RUN apt-get update && apt-get install -y --no-install-recommends fontconfig && rm -rf /var/lib/apt/lists/*
RUN useradd -m app && mkdir /logs && chown app:app /logs
{BUILD}RUN chown -R app:app /app
USER app
{START}"""
    runtime = split(text, tmp_path)
    assert runtime.startswith("FROM eclipse-temurin:17-jre\nRUN apt-get update")
    assert "RUN useradd -m app && mkdir /logs" in runtime
    assert "COPY --from=build --chown=app:app /app/data /app/data\n" in runtime
    assert "COPY --from=build --chown=app:app /app/target/shop-1.2.0.jar" in runtime


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (f"{BUILD}CMD ['java', '-jar', 'x.jar']\n", "cannot be read to the end"),
        (f"{BUILD}CMD java -jar $UNKNOWN\n", "not known"),
        (f"{BUILD}CMD java -jar\n", "names is not known"),
        (f"{BUILD}CMD java @args\n", "is not followed"),
        (f"{BUILD}CMD java -m a/b\n", "is not followed"),
        (f"{BUILD}CMD ./unknown\n", "does not start one Java program"),
        (f"{BUILD}CMD java -jar target/shop-1.2.0.jar & java -jar target/shop-1.2.0.jar\n", "does not start one"),
        (f"{BUILD}RUN rm -rf target\n{START}", "is removed again"),
        (f"WORKDIR /app\nCOPY . .\nRUN ./mvnw package && rm -rf target\n{START}", "is removed again"),
        (f"WORKDIR /app\nCOPY . .\nRUN ./mvnw package && mv target/*.jar /x.jar\n{START}", "is removed again"),
        (f"{BUILD}RUN ./mvnw clean\n{START}", "no RUN is known to make"),
        (f"{BUILD}RUN touch /ready\n{START}", "may make what is needed"),
        (f"{BUILD}RUN echo x > /etc/x\n{START}", "writes a file"),
        (f"{BUILD}VOLUME /app\n{START}", "may cover the program"),
        (f"{BUILD}RUN ln -s target/shop-1.2.0.jar a.jar\nCMD java -jar a.jar\n", "no RUN is known to make"),
        (f"WORKDIR /app\nCOPY . .\nCOPY --from=other /x /x\nRUN ./mvnw package\n{START}", "from another image"),
        (f"WORKDIR /app\nCOPY . .\nRUN ./mvnw compile\n{START}", "no RUN is known to make"),
        (f"WORKDIR /app\nADD https://example.com/a.tar.gz /x\nCOPY . .\nRUN ./mvnw package\n{START}", "downloads"),
        (f"ARG D\nWORKDIR $D\nCOPY . .\nRUN ./mvnw package\n{START}", "not"),
        (f"WORKDIR /app\nCOPY none .\nRUN ./mvnw package\n{START}", "the context has no none"),
    ],
)
def test_refused(rest: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path, {})
    assert reason in refusal(f"FROM eclipse-temurin:17-jdk\n{rest}", tmp_path)


def test_a_file_that_builds_nothing_is_no_business_of_it(tmp_path: Path) -> None:
    write(tmp_path, {"target/shop-1.2.0.jar": "x"})
    text = "FROM openjdk:17\nRUN mkdir /logs\nCOPY target/shop-1.2.0.jar app.jar\nCMD java -jar app.jar\n"
    result = optimize(Source("Dockerfile", text), tmp_path, only=("split_stages",))
    assert not result.changes
    assert not result.refusals


def test_the_compiler_alone_on_an_image_without_a_jre(tmp_path: Path) -> None:
    (tmp_path / "Main.java").write_text("class Main {}\n")
    text = "FROM openjdk:17\nWORKDIR /app\nCOPY . .\nRUN javac Main.java\nCMD java Main\n"
    assert "only sources would stay behind" in refusal(text, tmp_path)


def test_lists_of_packages_are_fetched_in_the_runtime_stage_too(tmp_path: Path) -> None:
    write(tmp_path, {})
    text = f"""FROM eclipse-temurin:17-jdk
RUN apt-get update
RUN apt-get install -y \\
    maven \\
    fontconfig
{BUILD}{START}"""
    runtime = split(text, tmp_path)
    assert "RUN apt-get update\nRUN apt-get install -y \\\n    fontconfig\nWORKDIR /app\n" in runtime


@pytest.mark.parametrize("name", ["my words.txt", "a[1].txt", "$HOME.txt", "link"])
def test_what_a_copy_line_cannot_name_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, {"config/a": "1\n"})
    path = tmp_path / name
    if name == "link":
        path.symlink_to("config")
    else:
        path.write_text("x\n")
    reason = refusal(f"FROM eclipse-temurin:17-jdk\n{BUILD}{START}", tmp_path)
    assert "its name is not plain" in reason or "symbolic link" in reason


def test_folders_of_the_context_on_the_class_path_are_shipped(tmp_path: Path) -> None:
    write(tmp_path, {"bin/a.properties": "a=1\n", "Main.java": "class Main {}\n"})
    text = (
        'FROM openjdk:11\nWORKDIR /app\nCOPY . .\nRUN javac -d out Main.java\nCMD ["java", "-cp", "out:bin", "Main"]\n'
    )
    runtime = split(text, tmp_path)
    assert "COPY --from=build /app/bin /app/bin\n" in runtime
    assert "COPY --from=build /app/out /app/out\n" in runtime


def test_what_is_built_after_files_were_given_away_is_roots(tmp_path: Path) -> None:
    write(tmp_path, {"data/a.txt": "x\n"})
    text = f"""FROM eclipse-temurin:17-jdk
RUN useradd -m app
WORKDIR /app
COPY . .
RUN chown -R app:app /app
RUN ./mvnw -q package
{START}"""
    runtime = split(text, tmp_path)
    assert "COPY --from=build --chown=app:app /app/data /app/data\n" in runtime
    assert "COPY --from=build /app/target/shop-1.2.0.jar" in runtime


def test_owners_inside_of_what_is_shipped_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a/Main.java": MAIN.format("")})
    start = 'CMD ["java", "a.Main"]\n'
    text = f"FROM openjdk:11\nWORKDIR /app\nCOPY --chown=nobody . .\nRUN javac a/Main.java\n{start}"
    assert "has another owner" in refusal(text, tmp_path)
    text = f"FROM eclipse-temurin:17-jdk\n{BUILD}RUN chown nobody target/shop-1.2.0.jar\n{START}"
    assert "COPY --from=build --chown=nobody /app/target/shop-1.2.0.jar" in split(text, tmp_path)
    write(tmp_path, {"src/main/java/a/Main.java": MAIN.format('new File("target/classes/x");')})
    assert "has another owner" in refusal(text, tmp_path)
