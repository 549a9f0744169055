"""Splitting PHP files: what both stages have, what is shipped, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import optimize
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.passes.state import states
from buildopt.source import MAX_BYTES, Source

BASE = "FROM php:8.3-apache\n"
APT = "RUN apt-get update && apt-get install -y git unzip libzip-dev && docker-php-ext-install zip\n"
COMPOSER = "COPY --from=composer:2 /usr/bin/composer /usr/bin/composer\n"
APP = "WORKDIR /var/www/html\nCOPY . .\n"
INSTALL = "RUN composer install --no-dev\n"
TOP = BASE + APT + COMPOSER
TOOLS = "RUN apt-get update && apt-get install -y git unzip && rm -rf /var/lib/apt/lists/*\n"
BEFORE = BASE.replace("\n", " AS base\n") + APT.replace("git unzip ", "")
SHIPPED = "\nFROM base\nCOPY --from=build /var/www/html /var/www/html\n"


def write(context: Path, files: dict[str, str] | None = None, **composer: object) -> None:
    manifest = {"require": {"guzzlehttp/guzzle": "^7.9"}, **composer}
    lock = {"packages": [{"name": "guzzlehttp/guzzle"}], "packages-dev": []}
    base = {"composer.json": json.dumps(manifest), "composer.lock": json.dumps(lock), "index.php": "<?php\n"}
    for name, text in {**base, **(files or {})}.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def split(text: str, context: Path) -> str:
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert result.changes, result.refusals
    assert not parse(result.source).errors
    assert not optimize(result.source, context, only=("split_stages",)).changes
    whole = optimize(Source("Dockerfile", text), context)
    assert not optimize(whole.source, context).changes
    return result.source.text


def refusal(text: str, context: Path | None) -> str:
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert not result.changes
    return result.refusals[0].reason


def test_three_stages(tmp_path: Path) -> None:
    write(tmp_path)
    assert split(TOP + APP + INSTALL, tmp_path) == (
        f"{BEFORE}WORKDIR /var/www/html\n\nFROM base AS build\n{TOOLS}{COMPOSER}COPY . .\n{INSTALL}{SHIPPED}"
    )


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends(newline: str, end: str, tmp_path: Path) -> None:
    write(tmp_path)
    text = (TOP + APP + INSTALL + "RUN touch a\n").rstrip("\n") + end
    result = split(text.replace("\n", newline), tmp_path)
    assert result.count("\n") == result.count(newline)
    assert result.replace("\r\n", "\n").startswith(f"{BEFORE}WORKDIR /var/www/html\n\nFROM base AS build\n{TOOLS}")
    assert SHIPPED in result.replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("command", "repeated"),
    [
        ("chown -R www-data:www-data /var/www/html", "chown www-data:www-data /var/www/html"),
        ("chown -R www-data .", "chown www-data /var/www/html"),
        ("chown -R www-data:www-data /var/www", "chown www-data:www-data /var/www /var/www/html"),
        ("chmod -Rf 755 /var/www/html", "chmod 755 /var/www/html"),
        ("chmod 755 /var/www/html storage", "chmod 755 /var/www/html"),
        ("chmod 755 /var/www/html && chmod 775 .", "chmod 755 /var/www/html && chmod 775 /var/www/html"),
        ("find . -type d -exec chmod 755 {} +", "chmod 755 /var/www/html"),
        ("find . -type f -exec chmod 644 {} +", ""),
        ("chown -R www-data storage bootstrap/cache", ""),
        ("ln -sf /dev/stdout storage/app.log", ""),
        ("mkdir -p storage && touch storage/a && rm -rf tests /root/.composer", ""),
    ],
)
def test_the_folder_itself_gets_its_owner_and_mode(command: str, repeated: str, tmp_path: Path) -> None:
    write(tmp_path)
    text = split(f"{TOP}{APP}{INSTALL}RUN {command}\n", tmp_path)
    assert text.endswith(f"RUN {command}\n{SHIPPED}" + (f"RUN {repeated}\n" if repeated else ""))


@pytest.mark.parametrize(
    ("tag", "packages", "left", "install"),
    [
        ("8.3-apache", "git=1:2.39 libzip-dev", "libzip-dev", "apt-get install -y git=1:2.39 && rm"),
        ("8.3-fpm", "--no-install-recommends git nodejs npm nginx", "--no-install-recommends nginx", "git nodejs npm"),
    ],
)
def test_packages(tag: str, packages: str, left: str, install: str, tmp_path: Path) -> None:
    write(tmp_path)
    top = f"FROM php:{tag}\nRUN apt-get update && apt-get install -y {packages}\n"
    stages = split(top + COMPOSER + APP + INSTALL, tmp_path).split("\nFROM ")
    assert f"\nRUN apt-get update && apt-get install -y {left}\n" in stages[0]
    assert install in stages[1]


def test_packages_of_alpine(tmp_path: Path) -> None:
    write(tmp_path)
    top = "FROM php:8.3-fpm-alpine\nRUN apk add --no-cache git zip icu-dev && docker-php-ext-install intl\n"
    stages = split(top + COMPOSER + APP + INSTALL, tmp_path).split("\nFROM ")
    assert "\nRUN apk add --no-cache icu-dev && docker-php-ext-install intl\n" in stages[0]
    assert "\nRUN apk add --no-cache git zip\nCOPY --from=composer" in stages[1]


@pytest.mark.parametrize(
    "run",
    [
        "apt-get update && apt-get install -y git unzip zip && apt-get purge -y git",
        "apk add --virtual .tools git && echo && apk del .tools",
        "apt-get update; apt-get install -y git unzip; docker-php-ext-install zip",
    ],
)
def test_packages_that_stay(run: str, tmp_path: Path) -> None:
    write(tmp_path)
    assert f"\nRUN {run}\n" in split(f"{BASE}RUN {run}\n{COMPOSER}{APP}{INSTALL}", tmp_path).split("\nFROM ")[0]


@pytest.mark.parametrize(
    ("path", "text", "stays"),
    [
        ("src/a.php", "<?php exec('git log');", "git"),
        ("src/a.php", '<?php new Process(["git", "log"]);', "git"),
        ("src/a.php", '<?php system("ssh host");', "git"),
        ("src/a.php", "<?php exec('/usr/bin/unzip x.zip');", "unzip"),
        ("bin/backup.sh", "#!/bin/sh\nset -e\ncd /x && unzip -o y.zip\n", "unzip"),
        ("docker/worker.conf", "[program:a]\ncommand=git daemon\n", "git"),
        ("crontab", "* * * * * git -C /x pull\n", "git"),
        ("docker-compose.yml", "services:\n  web:\n    command: git daemon\n", "git"),
    ],
)
def test_tools_that_containers_start_stay(path: str, text: str, stays: str, tmp_path: Path) -> None:
    write(tmp_path, {path: text})
    gone = "unzip" if stays == "git" else "git"
    stages = split(TOP + APP + INSTALL, tmp_path).split("\nFROM ")
    assert f"install -y {stays} libzip-dev" in stages[0]
    assert f"install -y {gone} &&" in stages[1]


@pytest.mark.parametrize(
    ("behind", "common", "late"),
    [
        ("RUN apt-get update && apt-get install -y nano\n", True, False),
        ("RUN docker-php-ext-install intl\n", True, False),
        ("RUN a2enmod rewrite\n", False, True),
        ("COPY my.ini /usr/local/etc/php/conf.d/\n", False, False),  # behind the last RUN it is of the runtime stage
        ("COPY start.sh /start.sh\nRUN chmod +x /start.sh\n", False, True),
        ("ENV ROOT=/x\nRUN sed -i s!a!$ROOT! /etc/apache2/apache2.conf\n", False, True),
    ],
)
def test_what_stands_behind_the_build(behind: str, common: bool, late: bool, tmp_path: Path) -> None:
    write(tmp_path, {"my.ini": "", "start.sh": ""})
    stages = split(TOP + APP + INSTALL + behind, tmp_path).split("\nFROM ")
    run = behind.splitlines()[-1]
    assert [run in stage for stage in stages] == [common, False, not common]
    assert not late or stages[2].index("COPY --from=build") < stages[2].index(run)


@pytest.mark.parametrize(
    ("between", "places"),
    [
        ("RUN docker-php-ext-install intl\n", [True, False, False]),
        ("RUN a2enmod rewrite\n", [True, False, False]),
        ("COPY my.ini /usr/local/etc/php/conf.d/my.ini\n", [True, False, False]),
        ("COPY ca.crt /usr/local/share/ca-certificates/\nRUN update-ca-certificates\n", [False, True, True]),
        ("ENV V=1\nRUN pecl install redis-$V\n", [False, True, True]),
        ("RUN useradd app\n", [False, True, True]),
    ],
)
def test_what_stands_between_sources_and_build(between: str, places: list[bool], tmp_path: Path) -> None:
    write(tmp_path, {"my.ini": "", "ca.crt": ""})
    stages = split(TOP + APP + between + INSTALL, tmp_path).split("\nFROM ")
    assert [between.splitlines()[-1] in stage for stage in stages] == places


def test_an_installer_of_composer(tmp_path: Path) -> None:
    write(tmp_path)
    run = "RUN curl -sS https://getcomposer.org/installer | php -- --install-dir=/usr/local/bin --filename=composer\n"
    stages = split(BASE + run + "WORKDIR /app\nCOPY . .\n" + INSTALL, tmp_path).split("\nFROM ")
    assert [run in f"{stage}\n" for stage in stages] == [False, True, False]
    two = "RUN curl -sS https://getcomposer.org/installer | php\nRUN mv composer.phar /usr/local/bin/composer\n"
    stages = split(BASE + two + APP + INSTALL, tmp_path).split("\nFROM ")
    assert [two in f"{stage}\n" for stage in stages] == [False, True, False]
    assert "another folder" in refusal(BASE + two + "WORKDIR /app\nCOPY . .\n" + INSTALL, tmp_path)


def test_node_of_another_source(tmp_path: Path) -> None:
    write(tmp_path, {"package.json": '{"scripts": {"build": "vite build"}}'})
    source = "RUN curl -fsSL https://deb.nodesource.com/setup_20.x | bash -"
    build = APP + INSTALL + "RUN npm ci && npm run build\n"
    whole = split(TOP + source + " && apt-get install -y nodejs\n" + build, tmp_path).split("\nFROM ")
    assert [source in stage for stage in whole] == [False, True, False]
    apart = split(TOP + source + "\nRUN apt-get install -y nodejs\n" + build, tmp_path).split("\nFROM ")
    assert ["nodejs" in stage for stage in apart] == [True, False, False]


def test_the_name_of_the_stage(tmp_path: Path) -> None:
    write(tmp_path)
    named = split(TOP.replace("apache\n", "apache AS base\n") + APP + INSTALL, tmp_path)
    assert [line for line in named.splitlines() if line.startswith("FROM")] == [
        "FROM php:8.3-apache AS php",
        "FROM php AS build",
        "FROM php AS base",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TOP.replace("apache", "cli") + APP + INSTALL, "there is no CMD or ENTRYPOINT"),
        (TOP + APP + INSTALL + "CMD composer install && apache2-foreground\n", "containers may run composer"),
        (TOP + "WORKDIR /\nCOPY . .\n" + INSTALL, "/ holds more than the application"),
        (TOP + "WORKDIR /usr/src\nCOPY . .\n" + INSTALL, "/usr/src holds more than the application"),
        (TOP + "COPY --chown=www-data . /app\nRUN cd /app && composer install\n", "whose /app itself is"),
        (TOP + APP + "USER www-data\n" + INSTALL, "the user changes before"),
        (TOP + APP + INSTALL + "USER www-data\nRUN php -v\n", "the user changes before"),
        (TOP + APP + "RUN composer install && a2enmod rewrite\n", "stands in one RUN"),
        (TOP + APP + "RUN (cd api && composer install)\n", "the folder that it runs in is not known"),
        (TOP + APP + "RUN composer global require laravel/installer\n" + INSTALL, "puts its files is not certain"),
        (TOP + APP + "RUN composer install -d /srv/other\n" + INSTALL, "puts its files is not certain"),
        (TOP + APP + "RUN composer config vendor-dir /srv/vendor\n" + INSTALL, "puts its files is not certain"),
        (TOP + APP + "RUN composer require monolog/monolog\n", "composer.lock does not name"),
        (TOP + APP + INSTALL + "RUN npm install -g pm2\n", "puts its files is not certain"),
        (TOP + APP + INSTALL + "RUN php artisan app:install\n", "writes is not known"),
        (TOP + APP + INSTALL + "RUN php setup.php\n", "writes is not known"),
        (TOP + APP + INSTALL + "RUN ./setup.sh\n", "needs programs of the build stage is not known"),
        (TOP + APP + INSTALL + "RUN make-it\n", "leaves outside of the application's folder"),
        (TOP + APP + INSTALL + "RUN ln -s /data storage\n", "within and without"),
        (TOP + APP + INSTALL + "RUN mv public/x /etc/x\n", "within and without"),
        (TOP + APP + INSTALL + "RUN chown -R www-data /var /etc\n", "changes more than the application"),
        (TOP + APP + INSTALL + "RUN chown -R app . || true\n", "itself is, is not certain"),
        (TOP + APP + INSTALL + "RUN rm -rf /var/www/html\n", "replaces a folder of the image"),
        (TOP + "WORKDIR /var/www\nCOPY . .\nRUN rm -rf html && ln -s public html\n" + INSTALL, "replaces a folder"),
        (TOP + "WORKDIR /var/www\nCOPY . .\nRUN rm -rf /var/www/h*\n" + INSTALL, "replaces a folder"),
        (TOP + APP + INSTALL + "RUN rm /usr/bin/unzip\n", "changes a program of the build stage"),
        (TOP + APP + INSTALL + "RUN useradd -m -d /var/www/html app\n", "may make the folder"),
        (TOP + APP + "RUN chown www-data .\nRUN usermod -u 1000 www-data\n" + INSTALL, "gets another number"),
        (TOP + APP + INSTALL + "VOLUME /var/www\n", "the volume may cover"),
        (TOP + "ENV VIEW_COMPILED_PATH=/views\n" + APP + INSTALL, "VIEW_COMPILED_PATH may lead files"),
        (TOP + "ENV COMPOSER_VENDOR_DIR=/vendor\n" + APP + INSTALL, "COMPOSER_VENDOR_DIR may lead files"),
        (TOP + "RUN git clone https://example.com/x /usr/src/php/ext/x\n" + APP + INSTALL, "`git` is started"),
        (TOP + "RUN curl https://example.com/x | sh\n" + APP + INSTALL, "needs programs of the build stage"),
        (TOP + APP + "COPY files /\n" + INSTALL, "from above"),
        (BASE + "RUN docker-php-ext-install zip\n" + APP + INSTALL, "there is nothing to leave behind"),
        (
            BASE
            + "RUN apt-get update && apt-get install -y git && a2enmod rewrite\nRUN apt-get install -y nano\n"
            + APP
            + INSTALL,
            "the lists of packages come from another RUN",
        ),
        (
            BASE + "RUN apt-get update && apt-get install -y git\nRUN apt-get install -y nano\n" + APP + INSTALL,
            "the lists of packages come from another RUN",
        ),
    ],
)
def test_refused(text: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path, {"files/var/www/html/x": "", "api/composer.json": "{}"})
    assert reason in refusal(text, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "Illuminate\\Foundation\\ComposerScripts::postAutoloadDump",
        "@php artisan package:discover --ansi",
        "@php -r \"file_exists('.env') || copy('.env.example', '.env');\"",
        "@auto-scripts",
    ],
)
def test_known_scripts(line: str, tmp_path: Path) -> None:
    write(tmp_path, scripts={"post-install-cmd": [line], "auto-scripts": {"cache:clear": "symfony-cmd"}})
    assert split(TOP + APP + INSTALL, tmp_path)


@pytest.mark.parametrize(
    "line",
    ["cp a /etc/a", "App\\Installer::run", "@php -r \"copy('a', '/etc/a');\"", "@php artisan x > /etc/y", "make"],
)
def test_scripts_that_are_refused(line: str, tmp_path: Path) -> None:
    write(tmp_path, scripts={"post-autoload-dump": line})
    assert "composer's script" in refusal(TOP + APP + INSTALL, tmp_path)
    assert split(TOP + APP + "RUN composer install --no-scripts\n", tmp_path)


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ({"config": {"vendor-dir": "../vendor"}}, "vendor-dir of composer.json"),
        ({"repositories": [{"type": "path", "url": "../shared"}]}, "packages outside of the project"),
        ({"require": {"composer/composer": "^2"}}, "composer/composer may start programs"),
        ({"require-dev": {"cpliakas/git-wrapper": "^2"}}, "cpliakas/git-wrapper may start programs"),
    ],
)
def test_manifests_that_are_refused(manifest: dict[str, object], reason: str, tmp_path: Path) -> None:
    write(tmp_path, None, **manifest)
    assert reason in refusal(TOP + APP + INSTALL, tmp_path)


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("deploy.php", "<?php exec('composer install');", "containers may run composer"),
        ("README.md", "docker compose exec app composer install\n", "containers may run composer"),
        ("compose.yml", "services:\n  a:\n    volumes:\n      - ./:/var/www/html\n", "worked on in it"),
        ("vite.config.js", "export default { build: { outDir: '../dist' } }", "may write outside"),
        ("package.json", '{"scripts": {"build": "cp -r dist /srv/www"}}', "may write outside"),
        ("composer.json", "{", "composer.json cannot be read"),
        ("composer.lock", "[", "composer.lock cannot be read"),
    ],
)
def test_projects_that_are_refused(path: str, text: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path, {path: text})
    assert reason in refusal(TOP + APP + "RUN composer install && npm ci\n", tmp_path)


def test_a_kernel_with_caches_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, {"src/Kernel.php": "<?php\nreturn '/tmp/cache';\n"})
    run = "RUN composer install --no-scripts\n"
    assert "may put its caches elsewhere" in refusal(TOP + APP + INSTALL, tmp_path)
    assert "may put its caches elsewhere" in refusal(TOP + APP + run + "RUN bin/console cache:clear\n", tmp_path)
    assert split(TOP + APP + run, tmp_path)


def test_browsers_of_node(tmp_path: Path) -> None:
    write(tmp_path, {"package.json": '{"dependencies": {"puppeteer": "1"}}', "a.php": "<?php exec('node x.js');"})
    assert "may write outside" in refusal(TOP + APP + INSTALL + "RUN npm ci\n", tmp_path)


def test_no_context() -> None:
    assert "give --context" in refusal(TOP + APP + INSTALL, None)


def test_a_source_that_is_too_large(tmp_path: Path) -> None:
    write(tmp_path)
    with (tmp_path / "huge.php").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "huge.php cannot be read" in refusal(TOP + APP + INSTALL, tmp_path)


def test_files_without_composer_are_none_of_its_business(tmp_path: Path) -> None:
    write(tmp_path)
    result = optimize(Source("Dockerfile", TOP + APP + "RUN a2enmod rewrite\n"), tmp_path, only=("split_stages",))
    assert not result.changes
    assert not result.refusals


@pytest.mark.parametrize(
    ("image", "folder"),
    [
        ("php:8.3-apache", "/var/www/html"),
        ("php:fpm-alpine3.20", "/var/www/html"),
        ("php:8.3-cli", "/"),
        ("php", "/"),
        ("php:8.3-zts-alpine", "/"),
        ("composer:2", "/app"),
    ],
)
def test_the_working_folder_of_the_image(image: str, folder: str) -> None:
    assert states(parse(Source("Dockerfile", f"FROM {image}\n")))[-1].workdir == folder
