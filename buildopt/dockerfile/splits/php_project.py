"""What a project of PHP says of its build and of what it starts when it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from buildopt.dockerfile.files import json_value, read_text
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.splits import same_image
from buildopt.dockerfile.splits.splits import No

# Programs that a build stage has, or that come with them, by the packages that hold them.
TOOLS = {
    "git": word_set("git ssh scp sftp ssh-keygen ssh-keyscan"),
    "unzip": word_set("unzip zipinfo funzip"),
    "zip": word_set("zip zipcloak zipnote"),
    "node": word_set("node nodejs npm npx yarn yarnpkg pnpm python3 corepack"),
    "composer": word_set("composer composer.phar"),
}
# Packages of PHP that start such programs.
_STARTS = re.compile(
    r"pragmarx/version|[\w.-]+/(?:(?:[\w-]+-)?git(?:-[\w-]+)?|browsershot|laravel-pdf|shiki-php|zippy|envoy|deployer|puphpeteer"
    r"|laravel-server-side-rendering|gitlib|gitter|phpgit|php-vcs|mjml-php|[\w-]+-mjml|laravel-sidecar|installer|composer"
    r"|self-?update|laravel-selfupdater|composer-[\w-]*manager)"
)
_STARTING = re.compile(
    r"\b(?:exec|shell_exec|system|passthru|popen|proc_open|pcntl_exec|fromShellCommandline|Process|run)\s*\(|`"
)
_SOURCES = frozenset((".php", ".inc", ".phtml", ".module", ".py", ".pl", ".sh", ".bash", ""))
_SETTINGS = frozenset((".conf", ".ini", ".service", ".cron"))
_EVENTS = re.compile(
    r"(?:pre|post)-(?:install-cmd|update-cmd|autoload-dump|package-\w+|operations-exec|file-download|pool-create|command-run"
    r"|status-cmd|archive-cmd)|init|command"
)
_HANDLERS = re.compile(
    r"\\?(?:Illuminate|Composer|Incenteev|Sensio|Symfony|DrupalProject|Drupal|DrupalComposer|Cake|Laravel|Laminas|Zend"
    r"|CodeIgniter|TYPO3|Contao|Neos|Hyperf|Phalcon|Mezzio|yii|Yiisoft|PackageVersions|Google|PhpCsFixer)\\[\w\\:]+"
)
_FILE = r"['\"][\w./-]+['\"]"
_SCRIPT = re.compile(
    r"@(?:auto-scripts|putenv .*|[\w:-]+)|@?composer [\w-]+[^|;&>]*"
    r"|(?:@?php )?(?:artisan|bin/console|app/console) [\w:-]+[^|;&>]*"
    rf"|@?php -r [\"'].*file_exists\({_FILE}\) \|\| copy\({_FILE}, ?{_FILE}\);?[\"']"
)


def scripts_are_known(instruction: Instruction, folder: Path) -> None:
    """Refuse scripts of composer.json that may write elsewhere than into the project. Raises No."""
    try:
        document = json_value(read_text(folder / "composer.json"))
    except (OSError, ValueError):
        raise No(instruction, "composer.json cannot be read: its scripts may write anywhere") from None
    scripts = document.get("scripts") if isinstance(document, dict) else None
    config = document.get("config") if isinstance(document, dict) else None
    for name in ("vendor-dir", "bin-dir", "home", "cache-dir", "data-dir"):
        value = config.get(name) if isinstance(config, dict) else None
        if value is not None and re.match(r"/|~|\$|.*\.\.", str(value)):
            raise No(instruction, f"{name} of composer.json is elsewhere")
    for name, lines in scripts.items() if isinstance(scripts, dict) else ():
        if _EVENTS.fullmatch(name) or name == "auto-scripts":
            for line in _lines(lines):
                if not (_SCRIPT.fullmatch(line) or _HANDLERS.fullmatch(line)) or "../" in line:
                    raise No(instruction, f"what composer's script `{line[:60]}` writes is not known")
    text = read_text(folder / "composer.json")
    if re.search(r"\"url\"\s*:\s*\"(?:\.\./|/|~)", text):
        raise No(instruction, "composer.json names packages outside of the project")


def _lines(value: object) -> Iterator[str]:
    """The lines of an event: a string, a list of them, or what Symfony Flex writes, a command and its kind."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _lines(item)
    elif isinstance(value, dict):
        yield from (f"bin/console {key}" if kind == "symfony-cmd" else str(key) for key, kind in value.items())


def needed_tools(instruction: Instruction, context: Path, told: str) -> frozenset[str]:
    """The keys of `TOOLS` that containers may start; ``told`` is what is known to run in them. Raises No."""
    found: set[str] = set()
    scripts: list[str] = []
    calls_scripts = False
    for path in same_image.files(context):
        if path.name in ("composer.lock", "composer.json"):
            name = next((name for name in _packages(instruction, path) if _STARTS.fullmatch(name)), None)
            if name is not None:
                raise No(instruction, f"{name} may start programs of the build stage")
        elif path.suffix in _SETTINGS or re.match(r"(?i)crontab|supervisord?|procfile", path.name):
            text = same_image.source_text(instruction, path)
            told += "\n" + "\n".join(re.findall(r"(?:command|ExecStart\w*)\s*=(.*)", text))
            told += f"\n{text}" if "cron" in path.as_posix().lower() else ""
        elif path.suffix in _SOURCES and not re.match(r"(?i)license|dockerfile|readme", path.name):
            text = same_image.source_text(instruction, path)
            if path.suffix in (".sh", ".bash") or re.match(r"#!.*sh\b", text):
                scripts.append(text)
            elif _STARTING.search(text):
                calls_scripts = calls_scripts or re.search(r"\.(?:sh|bash)\b", text) is not None
                found |= {key for key, names in TOOLS.items() if any(_spoken(name, text) for name in names)}
    for key, names in TOOLS.items():
        beside = "\n".join(scripts) if calls_scripts or key != "composer" else ""
        if any(_runs(name, told) or _runs(name, beside) for name in names):
            found.add(key)
    return frozenset(found)


def _packages(instruction: Instruction, path: Path) -> Iterator[str]:
    """The packages that a composer.json or composer.lock names. Raises No."""
    try:
        document = json_value(same_image.source_text(instruction, path))
    except ValueError:
        raise No(instruction, f"{path.name} cannot be read") from None
    for section in ("require", "require-dev", "packages", "packages-dev"):
        value = document.get(section) if isinstance(document, dict) else None
        if isinstance(value, dict):
            yield from map(str, value)
        elif isinstance(value, list):
            yield from (str(item.get("name")) for item in value if isinstance(item, dict))


def _runs(name: str, text: str) -> bool:
    """Whether a command of this name stands in a text of commands."""
    return re.search(rf"(?<![\w.$-])(?<![\w]/){re.escape(name)}(?=[\"']?,?\s+[\"']?[\w./@:-])", text) is not None


def _spoken(name: str, text: str) -> bool:
    """Whether a literal of a source starts with the name as a command would, or a line of a script does."""
    behind = r"\s+-*[a-z]|[\"']\s*[,\])]" if name.startswith("composer") else r"[\"'`\s]"
    place = r"(?:/usr(?:/local)?/bin/)?"
    return re.search(rf"(?:[\"'`(;|&]|^)\s*{place}{re.escape(name)}(?:{behind})", text, re.M) is not None


def fetches_browsers(folder: Path) -> bool:
    """Whether packages of Node.js put programs into the user's caches, which they start later."""
    try:
        return (
            re.search(r"\"(?:puppeteer|@?playwright|electron|cypress|nightmare)", read_text(folder / "package.json"))
            is not None
        )
    except OSError:
        return False


def is_locked(folder: Path) -> bool:
    """Whether a lock file tells which packages are installed."""
    return (folder / "composer.lock").is_file()


def cache_elsewhere(folder: Path) -> bool:
    """Whether the kernel of Symfony may put its caches elsewhere than into the project."""
    for place in ("src/Kernel.php", "app/AppKernel.php"):
        try:
            if re.search(r"sys_get_temp_dir|[\"']/", read_text(folder / place)) is not None:
                return True
        except OSError:
            continue
    return False


def builds_outside(folder: Path) -> bool:
    """Whether scripts or bundlers of a package.json there may write outside of its folder."""
    for name in (
        "package.json",
        "vite.config.js",
        "vite.config.ts",
        "vite.config.mjs",
        "webpack.config.js",
        "webpack.mix.js",
    ):
        try:
            text = read_text(folder / name)
        except OSError:
            continue
        found = re.search(
            r"(?:outDir|setPublicPath|outputPath)\W{1,8}(?:/|\.\./)|(?:--?o\w*|>|cp|mv|rm)[ =][^\"]*(?: /|\.\./)", text
        )
        if found is not None:
            return True
    return False
