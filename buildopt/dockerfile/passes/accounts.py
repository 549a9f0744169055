"""Users that a RUN makes: their numbers and home folders, as far as the commands say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from buildopt.dockerfile.manager import word_set
from buildopt.dockerfile.shell import Command, parse_shell

_VALUED = word_set(
    "-u --uid -g --gid -G --groups --ingroup -d --home-dir --home -h -s --shell -c --comment --gecos -p --password "
    "-k --skel -b --base-dir -e --expiredate -f --inactive -K --key -Z --selinux-user"
)
_HOMES = frozenset(("-d", "--home-dir", "--home", "-h"))


@dataclass(frozen=True, slots=True)
class Account:
    """A user. ``home`` is None where the folder is not made with the user."""

    name: str
    uid: int
    home: str | None


def accounts(text: str) -> Iterator[Account]:
    """The users that a script makes with a number that it tells."""
    if "useradd" not in text and "adduser" not in text:
        return
    for command in parse_shell(text).commands:
        if command.name in ("useradd", "adduser") and not {"if", "case", "loop", "function"} & set(command.context):
            account = _account(command)
            if account is not None:
                yield account


def _account(command: Command) -> Account | None:
    values: dict[str, str] = {}
    options: set[str] = set()
    operands: list[str] = []
    words = iter(command.arguments)
    for word in words:
        text = word.text
        if text is None:
            return None
        name, equals, value = text.partition("=") if text.startswith("--") else (text, "", "")
        if not text.startswith("-"):
            operands.append(text)
        elif equals:
            values[name] = value
        elif name in _VALUED or (len(name) > 2 and name[1] != "-" and f"-{name[-1]}" in _VALUED):
            following = next(words, None)
            if following is None:
                return None
            options.update(f"-{letter}" for letter in name[1:] if name[1] != "-")
            # `useradd -mu 1000 app`: the last letter takes the value.
            values[name if name in _VALUED else f"-{name[-1]}"] = following.text or "$"
        elif name[1:2] != "-":
            options.update(f"-{letter}" for letter in name[1:])
        else:
            options.add(name)
    number = values.get("-u") or values.get("--uid") or ""
    if len(operands) not in (1, 2) or not number.isdigit():
        return None
    home = next((values[option] for option in values if option in _HOMES), f"/home/{operands[0]}")
    if command.name == "useradd":
        made = bool({"-m", "--create-home"} & options)
    else:  # busybox knows -H; Debian's adduser --no-create-home
        made = not {"-H", "--no-create-home"} & options and not {"-S", "--system"} & options
    return Account(operands[0], int(number), home if made and home.startswith("/") else None)
