"""Programs that sources and containers start: which of them every image has, and which no builder image has."""

from __future__ import annotations

import re

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.shell import parse_shell

# At the same place in the slim images of Debian and in Alpine, as in the images for building that are made of them.
ESSENTIAL = word_set(
    "[ arch base64 basename cat chgrp chmod chown cksum cp cut date dd df dirname du echo expr false find fold "
    "grep egrep fgrep gunzip gzip head hostname id install ln ls md5sum mkdir mkfifo mknod mktemp mv nl nproc "
    "od paste printf pwd readlink realpath rm rmdir sed seq sha1sum sha256sum sha512sum sleep sort split stat "
    "stty sync tac tail tar tee test touch tr true truncate tty uname uniq wc which whoami yes awk"
)
BUILTINS = word_set(
    ": . source jobs kill alias break cd command continue declare eval exit export getopts hash let local read "
    "readonly return set shift shopt test times trap type ulimit umask unalias unset wait echo printf pwd true "
    "false [ [["
)
# What no image for building with Go or Rust has of itself: whether it works does not depend on the split.
_ABSENT = word_set(
    "7z adb nc netcat telnet mysqladmin pg_isready rabbitmqctl ansible apache2 aplay avconv aws az bat chrome "
    "chromium chromium-browser clip cloudflared cmd cmd.exe convert cscript docker docker-compose dockerd "
    "explorer exiftool ffmpeg ffplay ffprobe firefox gcloud ghostscript google-chrome google-chrome-stable gs "
    "helm ifconfig inkscape ip iptables iwconfig java k3s k6 kind kubectl latex libreoffice magick minikube "
    "mongo mongodump mongorestore mysql mysqldump nginx nmap node notify-send npm npx nvidia-smi open opener "
    "osascript pandoc pbcopy pbpaste pdflatex pdftotext pg_dump pg_restore php pip pip3 podman powershell "
    "powershell.exe pwsh psql redis-cli redis-server rsvg-convert ruby rundll32 sc.exe screen soffice sox "
    "sqlite3 systemctl taskkill terraform tesseract tmux wkhtmltoimage wkhtmltopdf wl-copy wslpath xclip "
    "xdg-open xsel yarn youtube-dl yt-dlp"
)
_SHELLS = frozenset(("sh", "bash", "/bin/sh", "/bin/bash"))
_CALL = re.compile(r'"((?:\\.|[^"\\\n])*)"|`([^`]*)`')


def literal_calls(text: str, opening: re.Pattern[str]) -> list[tuple[str, ...]] | None:
    """The leading literal strings of each call that ``opening`` finds; None where one begins with anything else."""
    found: list[tuple[str, ...]] = []
    for match in opening.finditer(text):
        position = match.end()
        words: list[str] = []
        while True:
            word = _CALL.match(text, position)
            if word is None:
                break
            words.append(word.group(1) if word.group(1) is not None else word.group(2))
            separator = re.compile(r"\s*,\s*").match(text, word.end())
            if separator is None:
                break
            position = separator.end()
        if not words:
            if re.compile(r"os\.Args\[0\]|os::args|current_exe").match(text, position):
                continue
            return None
        found.append(tuple(words))
    return found


def program_problem(words: tuple[str, ...]) -> str:
    """Why a program that is started may be one of the image for building alone; empty where it is not."""
    name = words[0].rpartition("/")[2] if words[0].startswith(("/bin/", "/usr/bin/")) else words[0]
    if words[0] in _SHELLS or name in ("sh", "bash"):
        if len(words) < 3 or words[1] != "-c":
            return f"starts {name}: what that runs is not known"
        script = parse_shell(words[2])
        if not script.complete:
            return f"starts {name}: what that runs is not known"
        for command in script.commands:
            if command.name is None or command.name not in ESSENTIAL | BUILTINS | _ABSENT:
                return f"starts `{command.name or words[2][:40]}`, which the smaller image may lack"
        return ""
    if name in ESSENTIAL or name in _ABSENT:
        return ""
    return f"starts {words[0]}, which the smaller image may lack"


def known_names(text: str) -> bool:
    """Whether a name is a part of the shell, or one of those that every image has, or that no base image has."""
    return text in ESSENTIAL or text in BUILTINS or text in _ABSENT
