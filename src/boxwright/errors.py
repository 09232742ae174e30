"""The error tree. A meaning is a class, never a string; concrete errors live beside their raiser.

BoxwrightError          exit 1     what was wanted, what stopped it, what to try
├─ NotFound             404
├─ Conflict             409
├─ Invalid              400        DockerfileError (build.dockerfile) carries a source range
├─ Unauthorized         401
├─ Denied               403
├─ Corrupt              500        stored or received bytes are not what they claim; never retried
├─ Unavailable          503        the only family that is retried
├─ Unsupported          501
├─ StepFailed           500        a build step's process failed: exit code, log, where
└─ Cancelled            499        the user interrupted; exit 130
"""

from __future__ import annotations

# How the packages of the extra `registry` are had.
REGISTRY_EXTRA = "pip install '.[registry]' in Boxwright's sources (it is not on PyPI yet)"


class BoxwrightError(Exception):
    """Base of every failure that a user can cause or meet.

    ``str(error)`` is one clear sentence; ``hint`` is what to try, without a full stop at its start.
    """

    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NotFound(BoxwrightError):
    """The named thing does not exist."""

    http_status = 404


class Conflict(BoxwrightError):
    """The thing exists, is in use, or is in another state than the request needs."""

    http_status = 409


class Invalid(BoxwrightError):
    """The input is malformed; nothing was changed."""

    http_status = 400


class Unauthorized(BoxwrightError):
    """Credentials are missing or were refused."""

    http_status = 401


class Denied(BoxwrightError):
    """The caller is known and may not do this."""

    http_status = 403


class Corrupt(BoxwrightError):
    """Bytes are not what their digest, size or format claims. Never retried."""

    http_status = 500


class Unavailable(BoxwrightError):
    """A resource cannot serve now (network, full disk, busy); the same request may work later."""

    http_status = 503


class Unsupported(BoxwrightError):
    """This host, kernel or peer cannot do what was asked."""

    http_status = 501


class StepFailed(BoxwrightError):
    """A build step's process ended with a non-zero exit code."""

    def __init__(self, message: str, *, code: int, log: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.log = log


class Cancelled(BoxwrightError):
    """The user interrupted the command."""

    exit_code = 130
    http_status = 499
