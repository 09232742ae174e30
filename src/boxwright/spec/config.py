"""Image configs (image-spec config.md, with Docker's additions: Healthcheck, OnBuild, Shell, ArgsEscaped)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from boxwright.errors import Invalid
from boxwright.spec.digest import DiffID
from boxwright.spec.manifest import canonical_json
from boxwright.spec.platform import Platform
from boxwright.spec.values import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WORDS = ("Cmd", "Entrypoint", "Shell")  # Docker reads one text there as a list of one
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImageConfigInvalid(Invalid):
    """The bytes are no image config."""


def with_lists(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A container config whose commands are lists, as Docker reads them."""
    words = {key: [config[key]] for key in _WORDS if isinstance(config.get(key), str)}
    return {**config, **words} if words else config


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """How one layer, or one change of metadata, came to be. `created` is RFC 3339 text."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HistoryEntry:
        def text(key: str) -> str:
            return str(value.get(key) or "")

        return cls(
            created=text("created"),
            created_by=text("created_by"),
            author=text("author"),
            comment=text("comment"),
            empty_layer=bool(value.get("empty_layer")),
        )

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            k: v for k in ("created", "created_by", "author", "comment") if (v := getattr(self, k))
        }
        if self.empty_layer:
            out["empty_layer"] = True
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """One platform's config. `config` is the container config under Docker's own keys (``Env``, ``Cmd``, …),
    kept as plain JSON so that nothing that another tool wrote is lost; treat it as read-only."""

    platform: Platform
    diff_ids: tuple[DiffID, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    created: str = ""
    author: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, raw: bytes) -> ImageConfig:
        """Raises ImageConfigInvalid, DigestInvalid."""
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ImageConfigInvalid(f"the image config is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise ImageConfigInvalid("the image config is not a JSON object")

        def part(key: str, default: Any) -> Any:  # null and absent are the same; another type is an error
            return default if body.get(key) is None else body[key]

        rootfs, history, config = part("rootfs", {}), part("history", []), part("config", {})
        diff_ids = (rootfs.get("diff_ids") or []) if isinstance(rootfs, dict) else None
        if not isinstance(diff_ids, list) or not isinstance(history, list) or not isinstance(config, dict):
            raise ImageConfigInvalid("the image config has a rootfs, history or config of the wrong type")
        known = {
            "architecture",
            "os",
            "variant",
            "os.version",
            "os.features",
            "rootfs",
            "history",
            "config",
            "created",
            "author",
        }
        return cls(
            platform=Platform.from_json(body),
            diff_ids=tuple(DiffID.parse(str(d)) for d in diff_ids),
            history=tuple(HistoryEntry.from_json(h) for h in history if isinstance(h, dict)),
            config=with_lists(config),
            created=str(body.get("created") or ""),
            author=str(body.get("author") or ""),
            extra={k: v for k, v in body.items() if k not in known},
        )

    def on_host(self) -> ImageConfig:
        """The config as this host runs it and builds on it: a platform that it leaves out is the host's."""
        return self if self.platform.whole else replace(self, platform=self.platform.or_host())

    def to_bytes(self) -> bytes:
        """The serialisation that Boxwright writes; the same value gives the same bytes."""
        body: dict[str, Any] = {**self.platform.to_json()}
        if self.created:
            body["created"] = self.created
        if self.author:
            body["author"] = self.author
        body["config"] = dict(self.config)
        body["rootfs"] = {"type": "layers", "diff_ids": [str(d) for d in self.diff_ids]}
        if self.history:
            body["history"] = [h.to_json() for h in self.history]
        body.update(sorted(self.extra.items()))
        return canonical_json(body)

    @property
    def env(self) -> tuple[str, ...]:
        """``NAME=value`` entries; none when another tool wrote something else there."""
        env = self.config.get("Env")
        return tuple(map(str, env)) if isinstance(env, list) else ()

    @property
    def labels(self) -> dict[str, str]:
        labels = self.config.get("Labels")
        return {str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {}
