"""Compose files into targets."""

from __future__ import annotations

import posixpath

from boxwright.bake.compose import merge
from boxwright.bake.compose.environment import substituted, variables_of
from boxwright.bake.compose.yaml import Replace, Reset, documents, scalar
from boxwright.bake.definition import Config
from boxwright.bake.entries import (
    AGENTS,
    ATTESTS,
    CACHES,
    OUTPUTS,
    SECRETS,
    SecretEntry,
    SshEntry,
    attest_text,
)
from boxwright.bake.environ import LayeredVariables
from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.bake.hcl.budget import Budget
from boxwright.bake.names import check_name, sanitized
from boxwright.bake.target import BakeTarget, Group, unique
from boxwright.errors import Invalid
from boxwright.spec.text import go_bool, go_quote
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from boxwright.bake.trees import DefinitionTree, File

_KEYS = frozenset(
    "context dockerfile dockerfile_inline entitlements args ssh labels cache_from cache_to no_cache no_cache_filter "
    "additional_contexts network provenance sbom pull target shm_size extra_hosts isolation privileged secrets tags "
    "ulimits platforms".split()
)
# What bake takes nothing of, as buildx; what to write instead.
_UNUSED = {
    "privileged": 'give --set "*.entitlements=security.insecure" and RUN --security=insecure',
    "entitlements": 'give --set "*.entitlements=NAME"',
    "isolation": "it is of containers of Windows",
}
_EXTENSION = frozenset(
    "tags platforms no-cache-filter cache-from cache-to secret ssh output pull no-cache contexts".split()
)
_FILES = 100  # that are included or extended


def is_compose(file: File) -> bool:
    """Whether a file whose name does not say so is a compose file."""
    try:
        found = documents(file.data, file.name)
        return bool(found) and all(isinstance(one, dict) and "services" in one for one in found)
    except Invalid:
        return False


def load(files: Sequence[File], environ: Mapping[str, str]) -> Config:
    """The targets of compose files that are merged in their order. Raises DefinitionInvalid."""
    return _Project(environ).config(files)


@dataclass(frozen=True, slots=True)
class EnvFile:
    """A file of variables that a service names."""

    tree: DefinitionTree
    path: str
    required: bool

    @classmethod
    def of(cls, said: Any, tree: DefinitionTree, base: str) -> EnvFile:
        """Raises DefinitionInvalid."""
        if isinstance(said, EnvFile):
            return said
        path = said.get("path") if isinstance(said, dict) else said
        if not isinstance(path, str):
            raise DefinitionInvalid("env_file must name files")
        required = not isinstance(said, dict) or said.get("required", True) is not False
        return cls(tree, posixpath.join(base, path), required)


class _Project:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._outer = environ
        self._environ: Mapping[str, str] = environ  # with the variables of the tree that is read
        self._tree: DefinitionTree
        self._files, self._budget = _FILES, Budget()
        self._model: dict[str, Any] = {}

    def config(self, files: Sequence[File]) -> Config:
        for file in files:
            assert file.tree is not None
            self._tree = file.tree
            own = variables_of(file.tree, ".env", environ=self._outer, budget=self._budget) or {}
            self._environ = LayeredVariables(self._outer, own, {"COMPOSE_PROJECT_NAME": "bake"})
            self._model = self._merged(self._model, file.data, file.name)
        services = self._section("services")
        if not services and not self._section("secrets"):
            raise DefinitionInvalid("failed to parse compose file: empty compose file")
        config = Config()
        group = Group("default", [])
        for name, service in services.items():
            if not isinstance(service, dict):
                if service is None:
                    continue
                raise DefinitionInvalid(f"failed to parse compose file: services.{name} must be a mapping")
            if service.get("build") is None:
                if not service.get("image"):
                    raise DefinitionInvalid(
                        f'failed to parse compose file: service "{name}" has neither an image nor a build context '
                        "specified: invalid compose project"
                    )
                continue
            try:
                target = self._target(name, service, config.warnings)
            except DefinitionInvalid as error:
                raise DefinitionInvalid(
                    f"failed to parse compose file: services.{name}: {error.reason}"
                ) from None
            group.targets.append(target.name)
            config.targets.append(target)
        if services:
            config.groups.append(replace(group, said=bool(group.targets)))
        return config

    def _section(self, name: str) -> dict[str, Any]:
        found = self._model.get(name)
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise DefinitionInvalid(f"failed to parse compose file: {name} must be a mapping")
        return found

    # --- files ---------------------------------------------------------------------------------

    def _merged(self, model: dict[str, Any], data: bytes, name: str, base: str = "") -> dict[str, Any]:
        for raw in documents(data, name):
            if raw is None:
                continue
            if not isinstance(raw, dict):
                raise DefinitionInvalid("top-level object must be a mapping")
            one = self._substituted(raw, ())
            services = one.get("services")
            if isinstance(services, dict):
                self._located(services, base)
                one["services"] = {key: self._extended(key, services, base=base, seen=()) for key in services}
            for included in self._included(one.pop("include", None), base):
                model = included if not model else merge.merged(model, included)
            model = merge.merged(model, one)
        return model

    def _read(self, path: str) -> bytes:
        self._files -= 1
        if self._files < 0:
            raise DefinitionTooLarge(f"a compose file reads more than {_FILES} others")
        try:
            data = self._tree.read(path, (2 << 20) + 1)
        except OSError as error:
            raise DefinitionInvalid(f"open {path}: {(error.strerror or 'cannot be read').lower()}") from None
        if data is None:
            raise DefinitionInvalid(f"open {path}: no such file or directory")
        return data

    def _located(self, services: Mapping[str, Any], base: str) -> None:
        """Name in each service's files of variables the tree that they are read from, and where in it."""
        for service in services.values():
            if not isinstance(service, dict) or not service.get("env_file"):
                continue
            said = service["env_file"]
            files = said.value if isinstance(said, Replace) else said
            if isinstance(files, Reset):
                continue
            rows = files if isinstance(files, list) else [files]
            located = [one if isinstance(one, Reset) else EnvFile.of(one, self._tree, base) for one in rows]
            service["env_file"] = Replace(located) if isinstance(said, Replace) else located

    def _included(self, value: Any, base: str) -> list[dict[str, Any]]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise DefinitionInvalid("include must be a list")
        found = []
        for one in value:
            said = one.get("path") if isinstance(one, dict) else one
            model: dict[str, Any] = {}
            for path in (said or [None]) if isinstance(said, list) else [said]:
                if not isinstance(path, str):
                    raise DefinitionInvalid("include: a path is wanted")
                place = posixpath.join(base, path)
                model = self._merged(model, self._read(place), name=place, base=posixpath.dirname(place))
            found.append(_moved(model, posixpath.dirname(place)))
        return found

    def _extended(self, name: str, services: Mapping[str, Any], base: str, seen: tuple[str, ...]) -> Any:
        service = services.get(name)
        if not isinstance(service, dict) or "extends" not in service:
            return service
        said = service["extends"]
        extends = said if isinstance(said, dict) else {"service": said}
        wanted, path = extends.get("service"), extends.get("file")
        key = f"{path or base}\0{wanted}"
        if key in seen or len(seen) > 20:
            raise DefinitionInvalid(f"circular reference with extends in service {name}")
        if not isinstance(wanted, str):
            raise DefinitionInvalid(f"services.{name}.extends.service is required")
        if isinstance(path, str):
            place = posixpath.join(base, path)
            model: dict[str, Any] = {}
            for raw in documents(self._read(place), place):
                model = merge.merged(model, self._substituted(raw or {}, ()))
            services = model.get("services") or {}
            self._located(services, posixpath.dirname(place))
            parent = self._extended(wanted, services, base=posixpath.dirname(place), seen=(*seen, key))
            parent = _moved({"services": {wanted: parent}}, posixpath.dirname(path))["services"][wanted]
        else:
            parent = self._extended(wanted, services, base=base, seen=(*seen, key))
        if not isinstance(parent, dict):
            raise DefinitionInvalid(f'cannot extend service "{name}": service "{wanted}" not found')
        own = {k: v for k, v in service.items() if k != "extends"}
        return merge.merged(merge.cleaned(parent), own, ("services", name))

    def _substituted(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, str):
            try:
                found = substituted(value, self._environ)
                self._budget.make(len(found))
                return found
            except DefinitionTooLarge:
                raise
            except DefinitionInvalid as error:
                raise DefinitionInvalid(
                    f"error while interpolating {'.'.join(path)}: {error.reason}"
                ) from None
        if isinstance(value, dict):
            return {key: self._substituted(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._substituted(item, (*path, "[]")) for item in value]
        return Replace(self._substituted(value.value, path)) if isinstance(value, Replace) else value

    # --- one service ---------------------------------------------------------------------------

    def _target(self, service_name: str, service: dict[str, Any], warnings: list[str]) -> BakeTarget:
        name = sanitized(service_name)
        try:
            check_name(name)
        except DefinitionInvalid as error:
            raise DefinitionInvalid(f'invalid service name "{name}": {error.reason}') from None
        build = merge.build(service["build"])
        for key in build:
            if key not in _KEYS and not key.startswith("x-"):
                raise DefinitionInvalid(f"additional properties '{key}' not allowed in build")
            if key in _UNUSED:
                warnings.append(f"services.{service_name}.build.{key} is not for bake: {_UNUSED[key]}")
        environment = self._environment(service)
        said: dict[str, Any] = {
            "context": _cleaned(_text(build, "context") or "."),
            "contexts": self._contexts(merge.pairs(build.get("additional_contexts"), "additional_contexts")),
            "dockerfile": _text(build, "dockerfile") or None,
            "dockerfile-inline": _text(build, "dockerfile_inline") or None,
            "tags": _words(build, "tags"),
            "labels": {k: v or "" for k, v in merge.pairs(build.get("labels"), "labels").items()},
            "args": self._args(merge.pairs(build.get("args"), "args"), environment),
            "cache-from": CACHES.of_texts(_words(build, "cache_from") or ()) or None,
            "cache-to": CACHES.of_texts(_words(build, "cache_to") or ()) or None,
            "network": _text(build, "network") or None,
            "no-cache-filter": None,
            "platforms": _words(build, "platforms"),
            "ssh": _agents(build.get("ssh")),
            "secret": self._secrets(build.get("secrets")),
            "shm-size": _shm(build.get("shm_size")),
            "ulimits": _ulimits(build.get("ulimits")),
            "extra-hosts": merge.hosts(build["extra_hosts"]) if build.get("extra_hosts") else {},
            "attest": _attests(build),
            "no-cache": _flag(build, "no_cache") or None,
            "pull": _flag(build, "pull") or None,
        }
        for key in _extended(said, build.get("x-bake")):
            warnings.append(f"services.{service_name}.build.x-bake has no {go_quote(key)}: it is ignored")
        said["target"] = _text(build, "target") or None
        if not said["tags"] and service.get("image"):
            said["tags"] = [scalar(service["image"])]
        return BakeTarget(name, {key: value for key, value in said.items() if value is not None})

    def _environment(self, service: dict[str, Any]) -> dict[str, str]:
        """The variables of a service, those of its files among them."""
        found: dict[str, str] = {}
        for file in service.get("env_file") or ():
            read = variables_of(
                file.tree, file.path, environ=LayeredVariables(found, self._environ), budget=self._budget
            )
            if read is None and file.required:
                raise DefinitionInvalid(f"env file {file.path} not found")
            found.update(read or {})
        for key, value in merge.pairs(service.get("environment"), "environment").items():
            known = self._environ.get(key) if value is None else value
            if known is not None:
                found[key] = known
        return found

    def _args(self, args: Mapping[str, str | None], environment: Mapping[str, str]) -> dict[str, str]:
        found = {}
        for key, value in sorted(args.items()):
            known = environment.get(key, self._environ.get(key)) if value is None else value
            if known is not None:
                found[key] = known
        return found

    def _contexts(self, contexts: Mapping[str, str | None]) -> dict[str, str] | None:
        return {key: _context(value or "") for key, value in sorted(contexts.items())} or None

    def _secrets(self, value: Any) -> list[SecretEntry] | None:
        if value is None:
            return None
        if not isinstance(value, list):
            raise DefinitionInvalid("build.secrets must be a list")
        declared = self._section("secrets")
        found = []
        for one in value:
            name = one.get("source") if isinstance(one, dict) else one
            secret = declared.get(scalar(name))
            if scalar(name) not in declared:
                raise DefinitionInvalid(f"refers to undefined build secret {scalar(name)}")
            secret = {} if secret is None else secret
            if not isinstance(secret, dict):
                raise DefinitionInvalid(f"secrets.{scalar(name)} must be a mapping")
            if secret.get("external"):
                raise DefinitionInvalid(f"unsupported external secret {scalar(name)}")
            path = secret.get("file")
            found.append(
                SecretEntry(
                    scalar(name),
                    _cleaned(scalar(path)) if path else "",
                    scalar(secret.get("environment") or ""),
                )
            )
        return found


def _context(value: str) -> str:
    if value.startswith(("service:", "target:")):
        return "target:" + sanitized(value.partition(":")[2])
    return _cleaned(value)


def _cleaned(path: str) -> str:
    """A path as short as it can be; URLs and other places stay as they are."""
    from boxwright.bake.allow import is_local

    if "://" in path or ":" in path.split("/", 1)[0] or not is_local(path):
        return path
    return posixpath.normpath(path)


def _moved(model: dict[str, Any], directory: str) -> dict[str, Any]:
    """A model of another directory: its relative paths lead there."""
    if not directory:
        return model
    for service in (model.get("services") or {}).values():
        if isinstance(service, dict) and service.get("build") is not None:
            section = dict(merge.build(service["build"]))
            context = scalar(section.get("context") or ".")
            if _cleaned(context) == posixpath.normpath(context) and not posixpath.isabs(context):
                section["context"] = posixpath.join(directory, context)
            service["build"] = section
    return model


def _text(build: Mapping[str, Any], key: str) -> str:
    value = build.get(key)
    if isinstance(value, (dict, list)):
        raise DefinitionInvalid(f"build.{key} must be a string")
    return "" if value is None else scalar(value)


def _words(build: Mapping[str, Any], key: str) -> list[str] | None:
    value = build.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or any(isinstance(one, (dict, list)) or one is None for one in value):
        raise DefinitionInvalid(f"build.{key} must be a list of strings")
    return [scalar(one) for one in value]


def _flag(build: Mapping[str, Any], key: str) -> bool:
    value = build.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    found = go_bool(scalar(value))
    if found is None:
        raise DefinitionInvalid(f"build.{key} must be a boolean")
    return found


def _agents(value: Any) -> list[SshEntry] | None:
    if value is None:
        return None
    given = value
    if isinstance(value, list):
        given = {}
        for one in value:
            name, equals, path = scalar(one).partition("=")
            if not equals and name != "default":
                raise DefinitionInvalid(f'invalid ssh key "{name}"')
            given[name] = path if equals else None
    if not isinstance(given, dict):
        raise DefinitionInvalid("build.ssh must be a mapping or a list")
    found = [SshEntry(name, (scalar(path),) if path else ()) for name, path in given.items()]
    return sorted(found, key=lambda one: (one.id, one.paths))


def _shm(value: Any) -> str | None:
    from boxwright.spec.units import binary_size, parse_size

    if not value:
        return None
    return binary_size(value if isinstance(value, int) else parse_size(scalar(value)))


def _ulimits(value: Any) -> list[str] | None:
    if not value:
        return None
    if not isinstance(value, dict):
        raise DefinitionInvalid("build.ulimits must be a mapping")
    found = []
    for name, limit in sorted(value.items()):
        soft, hard = (limit.get("soft"), limit.get("hard")) if isinstance(limit, dict) else (limit, limit)
        if not isinstance(soft, int) or not isinstance(hard, int):
            raise DefinitionInvalid(f"build.ulimits.{name} must be a number, or have soft and hard")
        found.append(f"{name}={soft}:{hard}")
    return found


def _attests(build: Mapping[str, Any]) -> list[Any] | None:
    given = []
    for kind in ("sbom", "provenance"):
        word = _text(build, kind)
        if word:
            given.append(attest_text(kind, word))
    return ATTESTS.of_texts(given) or None


def _listed(value: Any) -> list[str]:
    """A list in `x-bake`; text is split at blanks."""
    if value is None:
        return []
    return [scalar(one) for one in value] if isinstance(value, list) else scalar(value).split()


def _extended(said: dict[str, Any], value: Any) -> list[str]:
    """Take what `x-bake` says, for which the compose specification has no keys. Returns the keys that are unknown."""
    if value is None:
        return []
    if not isinstance(value, dict):
        raise DefinitionInvalid("x-bake must be a mapping")
    for key, name in (("tags", "tags"), ("platforms", "platforms"), ("no-cache-filter", "no-cache-filter")):
        if words := _listed(value.get(key)):
            said[name] = unique([*(said[name] or ()), *words])
    for key, kind in (
        ("cache-from", CACHES),
        ("cache-to", CACHES),
        ("secret", SECRETS),
        ("ssh", AGENTS),
        ("output", OUTPUTS),
    ):
        if words := _listed(value.get(key)):
            said[key] = kind.merged(said.get(key), kind.of_texts(words))
    if said["ssh"]:
        said["ssh"] = sorted(said["ssh"], key=lambda one: (one.id, one.paths))
    for key in ("pull", "no-cache"):
        if value.get(key) is not None:
            said[key] = _flag(value, key)
    contexts = value.get("contexts")
    if contexts:
        more = {
            key: _context(scalar(item)) for key, item in merge.pairs(contexts, "contexts").items() if item
        }
        said["contexts"] = {**more, **(said["contexts"] or {})}
    return [str(key) for key in value if key not in _EXTENSION]
