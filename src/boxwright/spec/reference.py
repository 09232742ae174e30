"""Image references: ``[domain/]path[:tag][@digest]`` (distribution/reference's grammar and normal form)."""

from __future__ import annotations

import re

from boxwright.errors import Invalid
from boxwright.spec.digest import Digest
from boxwright.spec.values import dataclass, replace

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"

# Labels joined by dots and components joined by slashes, written so that they compile in half the time.
_DOMAIN = r"(?:[a-zA-Z0-9]+(?:(?:-+|\.)[a-zA-Z0-9]+)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH = r"[a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"((?:({_DOMAIN})/)?({_PATH}))(?::({_TAG}))?(?:@({_DIGEST}))?\Z", re.ASCII)
_LONGEST_NAME = 255


class ReferenceInvalid(Invalid):
    """The text is no image reference."""


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A normalised reference: `domain` and `path` are never empty; `tag` and `digest` may be."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read what a user types: ``ubuntu``, ``user/app:1``, ``host:5000/a/b@sha256:…``. Raises ReferenceInvalid.

        No default tag is added: see `with_default_tag`.
        """
        if len(text) == 64 and not text.strip("0123456789abcdef"):
            raise ReferenceInvalid(
                f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )
        domain, path = split_domain(text)
        remote = re.split(r"[:@]", path, maxsplit=1)[0]
        if remote.lower() != remote:
            raise ReferenceInvalid(f"invalid reference format: repository name ({remote}) must be lowercase")
        match = _REFERENCE.match(f"{domain}/{path}")
        if not match:
            raise ReferenceInvalid(
                f"invalid reference format: {text!r} is not [host[:port]/]name[:tag][@digest]"
                if text
                else "invalid reference format: the name is empty"
            )
        if match[2] != domain:
            raise ReferenceInvalid(f"invalid reference format: {text!r}")
        if len(match[1]) > _LONGEST_NAME:
            raise ReferenceInvalid(
                f"invalid reference format: the repository name is longer than {_LONGEST_NAME} characters"
            )
        digest = match[5] or ""
        if digest:
            try:
                Digest.parse(digest)
            except Invalid as error:
                raise ReferenceInvalid(f"invalid reference format: {error}") from error
        return cls(domain=domain, path=match[3], tag=match[4] or "", digest=digest)

    @property
    def name(self) -> str:
        """``domain/path``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as Docker prints it: without ``docker.io/`` and, for official images, ``library/``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        head, slash, rest = self.path.partition("/")
        return rest if head == "library" and slash and "/" not in rest else self.path

    @property
    def familiar(self) -> str:
        """The whole reference as Docker prints it."""
        return self.familiar_name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix

    def with_default_tag(self) -> Reference:
        """Add ``:latest`` when there is neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """The same repository with this tag and no digest. Raises ReferenceInvalid."""
        if not is_tag(tag):
            raise ReferenceInvalid(
                f"invalid tag {tag!r}: wanted up to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'"
            )
        return replace(self, tag=tag, digest="")

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository at this digest; the tag is dropped."""
        return replace(self, tag="", digest=str(digest))


def is_tag(text: str) -> bool:
    """Whether the text can be a tag."""
    return re.match(rf"{_TAG}\Z", text, re.ASCII) is not None


def split_domain(text: str) -> tuple[str, str]:
    """Split a user's name into domain and path, adding ``docker.io`` and ``library/`` where Docker does."""
    head, slash, rest = text.partition("/")
    if not slash or not ("." in head or ":" in head or head == "localhost" or head.lower() != head):
        domain, path = DEFAULT_DOMAIN, text
    else:
        domain, path = head, rest
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = "library/" + path
    return domain, path
