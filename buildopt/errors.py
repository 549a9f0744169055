"""Everything that ends a command early, and the exit code it ends with.

::

    BuildoptError
    ├── GateError         1  a gate failed, or was not run to its end
    ├── UsageError        2  usage or configuration
    ├── ToolError         3  an outside program failed
    │   └── EngineError   3  no engine, or one that cannot do what is asked
    ├── PushError         4  a required destination was not pushed (all were tried)
    ├── ArtifactError     5  an artifact is missing or not what it says
    └── CredentialsError  6  every required destination refused the credentials

Beside these: 0 fine, 1 findings or a failed gate, 70 a bug, 130 interrupted. Findings are never exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence

OK = 0
FINDINGS = 1
BUG = 70
INTERRUPTED = 130


class BuildoptError(Exception):
    """An expected failure: one line of ``message``, a ``hint`` of what to do next, and optional ``detail`` lines.

    ``detail`` holds lines that belong to the failure, such as the last lines of a failed program.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "", detail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = tuple(detail)
        self.color = True


class GateError(BuildoptError):
    """An artifact did not pass its gates."""

    exit_code = FINDINGS


class UsageError(BuildoptError):
    """The command line or the configuration is wrong."""

    exit_code = 2


class ToolError(BuildoptError):
    """An outside program is missing or failed."""

    exit_code = 3


class EngineError(ToolError):
    """There is no container engine, or it cannot do what is asked."""


class PushError(BuildoptError):
    """A required destination was not pushed."""

    exit_code = 4


class ArtifactError(BuildoptError):
    """An OCI artifact is missing, damaged, or not what it says."""

    exit_code = 5


class CredentialsError(BuildoptError):
    """Every required destination refused the credentials."""

    exit_code = 6
