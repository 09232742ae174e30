"""Credentials where the field keeps them: Docker's config.json with its helpers, DOCKER_AUTH_CONFIG, podman's
auth.json.

Read in this order: DOCKER_AUTH_CONFIG; config.json's ``credHelpers[host]``, else its ``credsStore``, else its
``auths``; then podman's files. Written to config.json (or its helper) only, atomically.
"""

from __future__ import annotations

import binascii
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from boxwright.errors import Invalid, Unavailable
from boxwright.files import whole
from boxwright.files.disk import make_directories
from boxwright.files.locks import Lock
from boxwright.registry.client.auth import Credential
from boxwright.registry.client.config import ClientConfig
from boxwright.registry.client.endpoint import HUB
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


HUB_KEY = "https://index.docker.io/v1/"
_HELPER = r"[A-Za-z0-9._+-]+\Z"  # compiled at its first use
_SECONDS = 60  # a helper may ask the user to unlock a key ring


class CredentialsInvalid(Invalid):
    """A credentials file cannot be read."""


class HelperFailed(Unavailable):
    """A credential helper is missing or failed."""


def key_for(host: str) -> str:
    """The key under which Docker keeps a host."""
    return HUB_KEY if host in (HUB, "index.docker.io", "registry-1.docker.io") else host


def host_of(key: str) -> str:
    """The host of a key, which older versions wrote with scheme and path."""
    bare = re.sub(r"\Ahttps?://", "", key).partition("/")[0]
    return HUB if bare in ("index.docker.io", "registry-1.docker.io", HUB) else bare


@dataclass(frozen=True, slots=True)
class Stored:
    """What `login` did: the file or helper that now has the credential; `plain` = unencrypted in a file."""

    where: str
    plain: bool


class CredentialStore:
    """Finds, keeps and forgets credentials."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self.path = config.docker_config / "config.json"

    def get(self, host: str, repository: str = "") -> Credential | None:
        """The credential for a repository of a host; None = anonymous. Raises CredentialsInvalid, HelperFailed."""
        if self._config.auth_json:
            found = _from_auths(_parse("DOCKER_AUTH_CONFIG", self._config.auth_json), host)
            if found is not None:
                return found
        body = self._read()
        helper = _helper(body, host)
        if helper:
            found = _ask_helper(helper, key_for(host))
            if found is not None:
                return found
        else:
            found = _from_auths(body, host)
            if found is not None:
                return found
        for file in self._podman_files():
            body = _load(file)
            chosen = _named_helper(body, host)
            found = _ask_helper(chosen, host) if chosen else _from_prefixes(body, host, repository)
            if found is not None:
                return found
        return None

    def account(self, host: str, repository: str) -> str:
        """What tells accounts on one host apart: podman's files may have one for each path. '' = one for the host."""
        for file in self._podman_files():
            auths = _load(file).get("auths") or {}
            path = f"{host}/{repository}"
            while "/" in path:
                if path in auths:
                    return path
                path = path.rpartition("/")[0]
        return ""

    def put(self, host: str, credential: Credential) -> Stored:
        """Keep a credential. Raises CredentialsInvalid, HelperFailed."""
        helper = _helper(self._read(), host)
        if helper:
            secret = credential.identity_token or credential.password
            name = "<token>" if credential.identity_token else credential.username
            _run_helper(
                helper, "store", json.dumps({"ServerURL": key_for(host), "Username": name, "Secret": secret})
            )
            entry: dict[str, str] = {}
        else:
            entry = {
                "auth": binascii.b2a_base64(
                    f"{credential.username}:{credential.password}".encode(), newline=False
                ).decode()
            }
            if credential.identity_token:
                entry = {
                    "auth": binascii.b2a_base64(f"{credential.username}:".encode(), newline=False).decode(),
                    "identitytoken": credential.identity_token,
                }
        with self._changing():
            body = self._read()
            auths = body.setdefault("auths", {})
            for old in [k for k in auths if host_of(k) == host_of(host) and k != key_for(host)]:
                del auths[old]
            auths[key_for(host)] = entry
            self._write(body)
        return Stored(
            f"the helper docker-credential-{helper}" if helper else str(self.path), plain=not helper
        )

    def remove(self, host: str) -> bool:
        """Forget a credential; whether there was one. Raises CredentialsInvalid, HelperFailed."""
        helper = _helper(self._read(), host)
        found = bool(helper) and _ask_helper(helper, key_for(host)) is not None
        if found:
            _run_helper(helper, "erase", key_for(host))
        with self._changing():
            body = self._read()
            auths: dict[str, Any] = body.get("auths") or {}
            old = [k for k in auths if host_of(k) == host_of(host)]
            for key in old:
                del auths[key]
            if old:
                self._write(body)
        return found or bool(old)

    def _read(self) -> dict[str, Any]:
        return _load(self.path)

    def _changing(self) -> Lock:
        """What is read until this ends is still true when it is written."""
        try:
            make_directories(self.path.parent, mode=0o700)
            return Lock.on(self.path.parent)
        except OSError as error:
            raise CredentialsInvalid(f"cannot write {self.path}: {error.strerror}") from error

    def _write(self, body: Mapping[str, Any]) -> None:
        try:
            text = json.dumps(body, indent="\t", ensure_ascii=False)
            whole.replace_in_place_of(self.path, text.encode())
        except OSError as error:
            raise CredentialsInvalid(f"cannot write {self.path}: {error.strerror}") from error

    def _podman_files(self) -> list[Path]:
        config = self._config
        if config.auth_file is not None:
            return [config.auth_file]
        run = [config.runtime_dir / "containers/auth.json"] if config.runtime_dir is not None else []
        return [
            *run,
            Path(f"/run/containers/{os.getuid()}/auth.json"),
            config.home / ".config/containers/auth.json",
        ]


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsInvalid(f"cannot read {path}: {error}") from error
    return _parse(str(path), text) if text.strip() else {}


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:  # never with the text: it may hold a password
        raise CredentialsInvalid(f"{name} is not valid JSON", hint="repair or remove it") from error
    if not isinstance(body, dict) or not isinstance(body.get("auths") or {}, dict):
        raise CredentialsInvalid(f"{name} is not a Docker configuration: it must be a JSON object")
    return body


def _helper(body: Mapping[str, Any], host: str) -> str:
    return _named_helper(body, host) or _checked(str(body.get("credsStore") or ""))


def _named_helper(body: Mapping[str, Any], host: str) -> str:
    """What ``credHelpers`` says; podman's files have nothing else about helpers."""
    helpers = body.get("credHelpers")
    return (
        _checked(str(helpers.get(key_for(host)) or helpers.get(host) or ""))
        if isinstance(helpers, dict)
        else ""
    )


def _checked(helper: str) -> str:
    if helper and not re.match(_HELPER, helper):
        raise CredentialsInvalid(f"invalid credential helper name {helper!r}")
    return helper


def _from_auths(body: Mapping[str, Any], host: str) -> Credential | None:
    auths = body.get("auths") or {}
    entry = auths.get(key_for(host))
    if entry is None:
        entry = next((v for k, v in auths.items() if host_of(k) == host_of(host)), None)
    return _credential(entry)


def _from_prefixes(body: Mapping[str, Any], host: str, repository: str) -> Credential | None:
    """podman's rule: reg/ns/img, then reg/ns, then reg; URLs, as Docker wrote keys once, serve as well."""
    auths = body.get("auths") or {}
    path = f"{host}/{repository}" if repository else host
    while path:
        found = _credential(auths.get(path))
        if found is not None:
            return found
        path = path.rpartition("/")[0]
    # An account for one path is none for the others.
    return _from_auths({"auths": {k: v for k, v in auths.items() if "://" in k}}, host)


def _credential(entry: object) -> Credential | None:
    if not isinstance(entry, dict):
        return None
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = binascii.a2b_base64("".join(str(entry["auth"]).split()), strict_mode=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise CredentialsInvalid(
                "a stored credential is not valid base64", hint="log in again: boxwright login"
            ) from error
        username, _, password = text.partition(":")
        password = password.strip("\0")
    found = Credential(
        username=username,
        password=password,
        identity_token=str(entry.get("identitytoken") or ""),
        registry_token=str(entry.get("registrytoken") or ""),
    )
    return found if found.username or found.identity_token or found.registry_token else None


def _ask_helper(name: str, server: str) -> Credential | None:
    code, out = _call(name, "get", server)
    if code != 0:
        if "not found" in out.lower():
            return None
        raise HelperFailed(
            f"the credential helper docker-credential-{name} failed: {out.strip()[:200] or f'exit code {code}'}"
        )
    try:
        body = json.loads(out)
        user, secret = str(body["Username"]), str(body["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HelperFailed(f"the credential helper docker-credential-{name} gave no credential") from error
    if user == "<token>":
        return Credential(identity_token=secret)
    return Credential(user, secret) if user or secret else None


def _run_helper(name: str, verb: str, text: str) -> None:
    code, out = _call(name, verb, text)
    if code != 0:
        raise HelperFailed(
            f"the credential helper docker-credential-{name} failed: {out.strip()[:200] or f'exit code {code}'}"
        )


def _call(name: str, verb: str, text: str) -> tuple[int, str]:
    import subprocess

    try:
        done = subprocess.run(
            [f"docker-credential-{name}", verb],
            input=text.encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        from shutil import which

        # Where a directory of the PATH may not be entered, the error is that it may not, not that nothing was found.
        if isinstance(error, OSError) and which(f"docker-credential-{name}") is None:
            raise HelperFailed(
                f"the credential helper docker-credential-{name} is not installed",
                hint="install it, or remove credsStore and credHelpers from Docker's config.json",
            ) from error
        raise HelperFailed(f"the credential helper docker-credential-{name} does not run: {error}") from error
    return done.returncode, (done.stdout or done.stderr if done.returncode else done.stdout).decode(
        errors="replace"
    )
