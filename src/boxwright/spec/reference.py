"""Image references: ``[domain/]path[:tag][@digest]`` (distribution/reference's grammar and normal form)."""

from __future__ import annotations

from boxwright.errors import Invalid
from boxwright.spec.digest import Digest
from boxwright.spec.text import ALNUM, NAME
from boxwright.spec.values import dataclass, replace

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")
_ADDRESS = _HEX | frozenset(":")
_COMPONENT, _LABEL = _LOWER | frozenset("._-"), ALNUM | frozenset("-")
# What may not stand between two letters of a path's component: separators are one dot, one or two underscores, hyphens.
_NO_SEPARATORS = ("..", "._", "_.", "___", ".-", "-.", "_-", "-_")
_LONGEST_TAG = 128
_LEAST_HEX = 32
_JOINED = str.maketrans("-_+", "...")
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
        remote = path.partition("@")[0].partition(":")[0]
        if remote.lower() != remote:
            raise ReferenceInvalid(f"invalid reference format: repository name ({remote}) must be lowercase")
        named, at, digest = path.partition("@")
        repository, colon, tag = named.partition(":")
        if not (
            _is_domain(domain)
            and all(map(_is_component, repository.split("/")))
            and (not colon or is_tag(tag))
            and (not at or _is_digest(digest))
        ):
            raise ReferenceInvalid(
                f"invalid reference format: {text!r} is not [host[:port]/]name[:tag][@digest]"
                if text
                else "invalid reference format: the name is empty"
            )
        if len(domain) + len("/") + len(repository) > _LONGEST_NAME:
            raise ReferenceInvalid(
                f"invalid reference format: the repository name is longer than {_LONGEST_NAME} characters"
            )
        if digest:
            try:
                Digest.parse(digest)
            except Invalid as error:
                raise ReferenceInvalid(f"invalid reference format: {error}") from error
        return cls(domain=domain, path=repository, tag=tag, digest=digest)

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
    return 0 < len(text) <= _LONGEST_TAG and text[0] not in ".-" and NAME.issuperset(text)


def _is_domain(text: str) -> bool:
    """Labels joined by dots, or an IPv6 address in brackets, and perhaps a port."""
    if text[:1] == "[":
        address, bracket, rest = text[1:].partition("]")
        named = bracket != "" and address != "" and _ADDRESS.issuperset(address)
    else:
        host, colon, port = text.partition(":")
        named, rest = all(map(_is_label, host.split("."))), colon + port
    port = rest[1:]
    return named and (not rest or (rest[0] == ":" and port.isascii() and port.isdigit()))


def _is_label(text: str) -> bool:
    return text != "" and "-" not in (text[0], text[-1]) and _LABEL.issuperset(text)


def _is_component(text: str) -> bool:
    """Of a repository's path: small letters and digits, and separators between them."""
    return (
        text != ""
        and text[0] in _LOWER
        and text[-1] in _LOWER
        and _COMPONENT.issuperset(text)
        and not any(pair in text for pair in _NO_SEPARATORS)
    )


def _is_digest(text: str) -> bool:
    """``algorithm:hex`` in the reference grammar, which knows no algorithm by name; `Digest.parse` does."""
    algorithm, _, encoded = text.partition(":")
    words = algorithm.translate(_JOINED).split(".")
    return (
        len(encoded) >= _LEAST_HEX
        and _HEX.issuperset(encoded)
        and all(word != "" and not word[0].isdigit() and ALNUM.issuperset(word) for word in words)
    )


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
