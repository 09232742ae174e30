"""An image's config as a container uses it. The bytes are another's and are kept as they are; each key is checked when
it is used, so that a bad one refuses only what needs it. Every getter raises ContainerConfigInvalid, naming the key."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.container.config import ContainerConfigInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SPANS = ("Interval", "Timeout", "StartPeriod", "StartInterval")
_MOST = 2**63 - 1


class ImageOptions:
    """The `config` object of an image config (image-spec config.md, with Docker's keys)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config

    def text(self, key: str) -> str:
        """'' when it is not said."""
        return self._text(self._config.get(key), key)

    def words(self, key: str) -> list[str]:
        """A list of texts; a text alone counts as a list of one."""
        value = self._config.get(key)
        if value is None or value == "":
            return []
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self._wrong(key, "a list of texts", value)
        return list(value)

    def keys(self, key: str) -> dict[str, Any]:
        """A set, which Docker writes as an object of empty objects."""
        value = self._config.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, "an object", value)
        return {name: {} for name in value}

    def table(self, key: str) -> dict[str, str]:
        """Names to texts."""
        value = self._config.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, "an object of texts", value)
        return {name: self._text(text, f"{key}.{name}") for name, text in value.items()}

    def health(self) -> dict[str, Any]:
        """Docker's Healthcheck object, spans in nanoseconds; {} when there is none."""
        value = self._config.get("Healthcheck")
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong("Healthcheck", "an object", value)
        out: dict[str, Any] = {
            "Test": ImageOptions({"Healthcheck.Test": value.get("Test")}).words("Healthcheck.Test")
        }
        for key in (*_SPANS, "Retries"):
            number = value.get(key) or 0
            if not isinstance(number, int) or isinstance(number, bool) or abs(number) > _MOST:
                raise self._wrong(f"Healthcheck.{key}", "a whole number", number)
            if number:
                out[key] = number
        return {key: item for key, item in out.items() if item}

    def _text(self, value: Any, key: str) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(key, "a text", value)
        return value

    @staticmethod
    def _wrong(key: str, wanted: str, value: Any) -> ContainerConfigInvalid:
        return ContainerConfigInvalid(
            f"the image's {key} is not {wanted}: {str(value)[:80]!r}",
            hint="an option of the command line replaces what the image says",
        )
