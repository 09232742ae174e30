"""From a place's options to what reads or writes it: the one file that knows every kind of place."""

from __future__ import annotations

from boxwright.build.remotecache.options import CachePlace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.bases import Registries
    from boxwright.build.remotecache.places import CacheSink, CacheSource
    from boxwright.settings import Settings

STEPS = {
    "registry": "exporting cache to registry",
    "local": "exporting cache to client directory",
    "s3": "exporting cache to Amazon S3",
    "gha": "exporting to GitHub Actions Cache",
}


def left_out(place: CachePlace) -> str:
    """Why a place is not used at all; '' when it is. A workflow's file is run outside GitHub, too."""
    if place.type == "gha" and not place.secrets.get("token"):
        return f"the cache {place.shown} is left out: there is no token, which GitHub gives its jobs"
    return ""


def open_source(place: CachePlace, registries: Registries, settings: Settings) -> CacheSource:
    """Raises RequestInvalid, CacheDenied."""
    if place.type == "registry":
        from boxwright.build.remotecache.registry import RegistrySource

        insecure = place.flag("registry.insecure")
        return RegistrySource(place, registries.remote(place.options["ref"], insecure=insecure))
    if place.type == "local":
        from boxwright.build.remotecache.local import LocalSource

        return LocalSource(place)
    if place.type == "s3":
        from boxwright.build.remotecache.s3 import S3Source

        return S3Source(place, registries.http())
    from boxwright.build.remotecache.gha import GhaSource

    return GhaSource(place, registries.http(), _github(settings))


def open_sink(place: CachePlace, registries: Registries, settings: Settings) -> CacheSink:
    """Raises RequestInvalid, CacheDenied."""
    if place.type == "registry":
        from boxwright.build.remotecache.registry import RegistrySink

        insecure = place.flag("registry.insecure")
        return RegistrySink(place, registries.remote(place.options["ref"], push=True, insecure=insecure))
    if place.type == "local":
        from boxwright.build.remotecache.local import LocalSink

        return LocalSink(place)
    if place.type == "s3":
        from boxwright.build.remotecache.s3 import S3Sink

        return S3Sink(place, registries.http())
    from boxwright.build.remotecache.gha import GhaSink

    return GhaSink(place, registries.http(), _github(settings))


def _github(settings: Settings) -> str:
    return settings.environ.get("GITHUB_API_URL") or "https://api.github.com"
