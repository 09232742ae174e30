"""What is to be built: the targets that some names mean, with the settings that they inherit and those that the command
line overrides."""

from __future__ import annotations

from boxwright.bake.entries import AGENTS, ATTESTS, CACHES, OUTPUTS, SECRETS, TypedEntry
from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.bake.names import matches, near, sanitized
from boxwright.bake.target import BakeTarget, Group, unique
from boxwright.spec.text import go_bool
from boxwright.spec.values import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from boxwright.bake.allow import Allowed
    from boxwright.bake.definition import Config

_DEEPEST = 150  # targets that inherit from each other, groups in each other
# Applied after all others: they change what the others set.
_LAST = ("push", "load")


@dataclass(slots=True)
class Override:
    """What was typed for one key: all of it, and the last; `append`: after what the definition says."""

    value: str = ""
    values: list[str] = field(default_factory=list)
    append: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """The targets by name, and the groups that were asked for."""

    targets: dict[str, BakeTarget]
    groups: dict[str, Group]

    def to_json(self) -> dict[str, object]:
        """As `bake --print` has it."""
        shown: dict[str, object] = {}
        if self.groups:
            shown["group"] = {name: group.to_json() for name, group in sorted(self.groups.items())}
        return shown | {"target": {name: target.to_json() for name, target in sorted(self.targets.items())}}


def resolve(
    config: Config,
    names: Sequence[str],
    overrides: Sequence[str],
    environ: Mapping[str, str],
    allowed: Allowed,
) -> Resolved:
    """The targets that names and patterns mean. What is typed over a path allows it. Raises DefinitionInvalid."""
    return _Resolver(config, environ, allowed=allowed, overrides=overrides).resolved(names)


class _Resolver:
    def __init__(
        self, config: Config, environ: Mapping[str, str], allowed: Allowed, overrides: Sequence[str]
    ) -> None:
        self._targets = {target.name: target for target in reversed(config.targets)}
        self._order = unique(target.name for target in config.targets)
        self._groups = {group.name: group for group in reversed(config.groups)}
        self._group_order = unique(group.name for group in config.groups)
        self._environ, self._allowed = environ, allowed
        self._overrides = self._parsed(overrides)

    def resolved(self, names: Sequence[str]) -> Resolved:
        wanted = unique(name for given in names for name in self._matching(sanitized(given)))
        targets: dict[str, BakeTarget] = {}
        groups: dict[str, Group] = {}
        for name in wanted:
            found, inside = self._members(name, {}, 0)
            for one in found:
                if one not in targets:
                    targets[one] = self._target(one)
            for one in inside:
                groups[one] = replace(self._groups[one], targets=list(self._groups[one].targets))
        for name in wanted:
            if name != "default" or "default" not in groups:
                groups.setdefault("default", Group("default", [])).targets.append(name)
        if "default" in groups:
            groups["default"].targets = sorted(unique(groups["default"].targets))
        done: set[str] = set()
        for name in list(targets):
            self._link(targets[name], targets, visited=[], done=done)
        return Resolved(targets, groups)

    # --- names ---------------------------------------------------------------------------------

    def _matching(self, pattern: str) -> list[str]:
        if not any(char in pattern for char in "*?[]"):
            return [pattern]
        names = [n for n in [*self._group_order, *self._order] if matches(pattern, n)]
        if not names:
            raise DefinitionInvalid(f'could not find any target matching "{pattern}"', hint=self._known())
        return names

    def _known(self, name: str = "") -> str:
        guess = near(name, [*self._group_order, *self._order])
        if guess:
            return f"did you mean {guess}?"
        shown = [n for n in [*self._group_order, *self._order] if not n.startswith("_")]
        return f"there are {', '.join(shown[:20])}" if shown else ""

    def _members(
        self, name: str, visited: dict[str, tuple[list[str], list[str]]], depth: int
    ) -> tuple[list[str], list[str]]:
        """The targets and the groups that a name stands for."""
        if name in visited:
            return visited[name]
        group = self._groups.get(name)
        if group is None:
            return [name], []
        if depth > _DEEPEST:
            raise DefinitionTooLarge(f"groups are nested in more than {_DEEPEST} levels")
        visited[name] = [], []
        targets: list[str] = []
        groups = [name]
        for member in group.targets:
            inner, inside = self._members(member, visited, depth + 1)
            targets += inner or [member]
            groups += inside
        visited[name] = unique(targets), unique(groups)
        return visited[name]

    # --- one target ----------------------------------------------------------------------------

    def _target(self, name: str) -> BakeTarget:
        found = self._inherited(name, {}, 0)
        assert found is not None
        settings = dict(found.settings)
        settings.pop("inherits", None)
        if settings.get("context") is None:
            settings["context"] = "."
        if not settings.get("dockerfile"):
            settings["dockerfile"] = "Dockerfile"
        return BakeTarget(name, settings)

    def _inherited(self, name: str, visited: dict[str, BakeTarget | None], depth: int) -> BakeTarget | None:
        if name in visited:
            return visited[name]
        visited[name] = None
        said = self._targets.get(name)
        if said is None:
            raise DefinitionInvalid(f"failed to find target {name}", hint=self._known(name))
        if depth > _DEEPEST:
            raise DefinitionTooLarge(f"targets inherit from each other in more than {_DEEPEST} levels")
        whole = BakeTarget(name)
        for parent in said.get("inherits") or ():
            found = self._inherited(parent, visited, depth + 1)
            if found is not None:
                whole.merge(found)
        whole.merge(said)
        whole.settings.pop("inherits", None)
        self._apply(whole, self._overrides.get(name, {}))
        whole.normalize()
        visited[name] = whole
        return whole

    def _link(
        self, target: BakeTarget, targets: dict[str, BakeTarget], visited: list[str], done: set[str]
    ) -> None:
        """Add the targets whose results a target uses. Raises DefinitionInvalid."""
        if target.name in done:
            return
        if len(visited) > _DEEPEST:
            raise DefinitionTooLarge(f"targets use each other in more than {_DEEPEST} levels")
        visited = [*visited, target.name]
        for value in (target.get("contexts") or {}).values():
            if not value.startswith("target:"):
                continue
            name = value.removeprefix("target:")
            if name == target.name:
                raise DefinitionInvalid(f"target {name} cannot link to itself")
            if name in visited:
                raise DefinitionInvalid(f"infinite loop from {target.name} to {name}")
            if name not in targets:
                linked = self._target(name)
                linked.settings["output"] = [TypedEntry("cacheonly")]
                linked.linked = True
                targets[name] = linked
            self._link(targets[name], targets, visited=visited, done=done)
            self._shared(target, targets[name])
        done.add(target.name)

    def _shared(self, target: BakeTarget, linked: BakeTarget) -> None:
        more = [
            one for one in linked.get("entitlements") or () if one not in (target.get("entitlements") or ())
        ]
        if more:
            target.settings["entitlements"] = [*(target.get("entitlements") or ()), *more]
        ours, theirs = target.get("platforms") or [], linked.get("platforms") or []
        if len(ours) > 1 and len(theirs) > 1 and not set(ours) <= set(theirs):
            raise DefinitionInvalid(
                f"target {linked.name} can't be used by {target.name} because its platforms "
                f"[{' '.join(ours)}] are not a "
                f"subset of [{' '.join(theirs)}]"
            )

    # --- what was typed over it ----------------------------------------------------------------

    def _parsed(self, given: Iterable[str]) -> dict[str, dict[str, Override]]:
        found: dict[str, dict[str, Override]] = {}
        for word in given:
            key, equals, value = word.partition("=")
            append = key.endswith("+")
            parts = key.removesuffix("+").split(".", 2)
            if len(parts) < 2:
                raise DefinitionInvalid(f"invalid override key {key.removesuffix('+')}, expected target.name")
            pattern, name = parts[:2]
            if not equals and name != "args":
                raise DefinitionInvalid(f"invalid override {word}, expected target.name=value")
            if name in ("args", "contexts") and len(parts) != 3:
                raise DefinitionInvalid(f"invalid key {key}, {name} requires name")
            if not equals:
                if parts[2] not in self._environ:
                    continue
                value = self._environ[parts[2]]
            for target in self._expanded(pattern):
                override = found.setdefault(target, {}).setdefault(".".join(parts[1:]), Override())
                override.append, override.value = append, value
                override.values.append(value)
        return found

    def _expanded(self, pattern: str) -> list[str]:
        if pattern in self._targets:
            return [pattern]
        names = [name for name in self._order if matches(pattern, name)]
        if not names:
            raise DefinitionInvalid(
                f"could not find any target matching '{pattern}'", hint=self._known(pattern)
            )
        return names

    def _apply(self, target: BakeTarget, overrides: Mapping[str, Override]) -> None:
        for key in sorted(overrides, key=lambda key: _LAST.index(key) + 1 if key in _LAST else 0):
            self._set(target, key, overrides[key])

    def _set(self, target: BakeTarget, key: str, override: Override) -> None:
        name, _, part = key.partition(".")
        settings, value = target.settings, override.value
        if name in _TEXTS:
            settings[name] = value
        elif name in _PAIRS:
            if not part:
                raise DefinitionInvalid(f"invalid format for {name}, expecting {name}.<name>=<value>")
            settings[name] = {**(settings.get(name) or {}), part: value}
        elif name in _FLAGS:
            flag = go_bool(value)
            if flag is None:
                raise DefinitionInvalid(f"invalid value {value} for boolean key {name}")
            if name == "push":
                settings["output"] = pushed(settings.get("output") or [], flag)
            elif name == "load":
                settings["output"] = loaded(settings.get("output") or [], flag)
            else:
                settings[name] = flag
        elif name in _WORDS:
            setting, always = _WORDS[name]
            old = settings.get(setting) or [] if override.append or always else []
            settings[setting] = [*old, *override.values]
            if name == "entitlements":
                self._allowed.grant(override.values)
        elif name in _ENTRIES:
            self._entries(target, name, override)
        else:
            raise DefinitionInvalid(f"unknown key: {name}", hint=f"there are {', '.join(_KEYS)}")

    def _entries(self, target: BakeTarget, name: str, override: Override) -> None:
        setting, kind = _ENTRIES[name]
        try:
            given = kind.of_texts(override.values)
        except DefinitionInvalid as error:
            what = "attest" if name == "attest" else "outputs"
            raise DefinitionInvalid(
                error.reason if name.startswith("cache") else f"invalid value for {what}: {error.reason}"
            ) from None
        keep = override.append or name == "attest"
        target.settings[setting] = kind.merged(target.get(setting), given) if keep else given
        self._allowed.grant_entries(setting, target.settings[setting] or ())


_TEXTS = ("context", "dockerfile", "target", "call", "shm-size", "network")
_PAIRS = ("args", "contexts", "labels", "extra-hosts")
_FLAGS = ("no-cache", "pull", "push", "load")
# By the name on the command line: the setting, and whether words are always added.
_WORDS = {
    "tags": ("tags", False),
    "platform": ("platforms", False),
    "no-cache-filter": ("no-cache-filter", False),
    "ulimits": ("ulimits", False),
    "entitlements": ("entitlements", True),
    "annotations": ("annotations", True),
}
_ENTRIES = {
    "cache-from": ("cache-from", CACHES),
    "cache-to": ("cache-to", CACHES),
    "secrets": ("secret", SECRETS),
    "ssh": ("ssh", AGENTS),
    "output": ("output", OUTPUTS),
    "attest": ("attest", ATTESTS),
}
_KEYS = sorted({*_TEXTS, *_PAIRS, *_FLAGS, *_WORDS, *_ENTRIES})


def pushed(outputs: Sequence[TypedEntry], push: bool) -> list[TypedEntry]:
    """Outputs with pushing asked for, or without it."""
    if not push:
        found = list(outputs)
        at = 0
        while at < len(found):
            if found[at].type == "registry":
                found[at] = found[-1]
                found.pop()
                continue
            if found[at].type == "image":
                found[at] = _with(found[at], "push", "false")
            at += 1
        return found
    made = [_with(entry, "push", "true") if entry.type == "image" else entry for entry in outputs]
    if all(entry.type == "docker" for entry in outputs):
        made.append(TypedEntry("image", (("push", "true"),)))
    return made


def loaded(outputs: Sequence[TypedEntry], load: bool) -> list[TypedEntry]:
    """Outputs with loading into the store asked for."""
    if not load:
        return list(outputs)
    for entry in outputs:
        if (entry.type == "docker" and not entry.dest) or entry.type not in (
            "docker",
            "image",
            "registry",
            "oci",
        ):
            return list(outputs)
    return [*outputs, TypedEntry("docker")]


def _with(entry: TypedEntry, key: str, value: str) -> TypedEntry:
    return replace(entry, attributes=tuple(sorted({**entry.options, key: value}.items())))
