"""Names that lead to loopback for one program only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from buildopt import process
from buildopt.sandbox.names import in_names

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")

LOOK_UP = "import socket, sys; print(socket.gethostbyname(sys.argv[1]))"


def test_a_program_finds_a_name_on_loopback_and_the_machine_does_not_change(tmp_path: Path) -> None:
    before = Path("/etc/hosts").read_bytes()
    argv = in_names([sys.executable, "-c", LOOK_UP, "ghcr.io"], {"ghcr.io": "127.0.0.2"}, tmp_path)
    assert process.run(argv).text.strip() == "127.0.0.2"
    assert Path("/etc/hosts").read_bytes() == before
    argv = in_names([sys.executable, "-c", LOOK_UP, "localhost"], {"ghcr.io": "127.0.0.2"}, tmp_path)
    assert process.run(argv).text.strip() == "127.0.0.1"


def test_words_and_the_exit_status_are_the_programs_own(tmp_path: Path) -> None:
    words = ["a b", "$HOME", "'", '"', "*"]
    argv = in_names([sys.executable, "-c", "import sys; print(sys.argv[1:])", *words], {}, tmp_path)
    assert process.run(argv).text.strip() == str(words)
    failed = process.run(in_names([sys.executable, "-c", "raise SystemExit(7)"], {}, tmp_path), check=False)
    assert failed.returncode == 7
