"""Sessions by host and account, and what all of them share: connections, credentials, the ways to a registry."""

from __future__ import annotations

import threading

from boxwright.registry.client.auth import Credential
from boxwright.registry.client.config import ClientConfig
from boxwright.registry.client.credentials import CredentialStore
from boxwright.registry.client.endpoint import RegistryEndpoint, RegistryHost
from boxwright.registry.client.hosts import Hosts
from boxwright.registry.client.http import Http
from boxwright.registry.client.session import RegistrySession


class RegistrySessions:
    """With any number of registries; shared by threads."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self.hosts = Hosts(config)
        self.credentials = CredentialStore(config)
        self.http = Http(config)
        self.helpers = threading.Semaphore(
            2
        )  # big layers that get parallel ranges at once: each holds megabytes
        self._sessions: dict[tuple[RegistryHost, str], RegistrySession] = {}
        self._lock = threading.Lock()

    def session(self, endpoint: RegistryEndpoint) -> RegistrySession:
        """The session for an endpoint; repositories of one host share it unless their credentials differ by path."""
        key = (
            endpoint.host,
            self.credentials.account(endpoint.host.domain or endpoint.host.name, endpoint.repository),
        )
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                session = RegistrySession(
                    http=self.http,
                    config=self.config,
                    host=endpoint.host,
                    credential=_Once(self.credentials, endpoint),
                )
                self._sessions[key] = session
            return session

    def forget(self) -> None:
        """Begin anew with each of them: an account changed."""
        with self._lock:
            self._sessions.clear()

    def close(self) -> None:
        """Close idle connections."""
        self.http.close()


class _Once:
    """Looks a credential up at the first need: a helper may ask the user to unlock a key ring."""

    def __init__(self, store: CredentialStore, endpoint: RegistryEndpoint) -> None:
        self._store, self._endpoint = store, endpoint
        self._found: Credential | None = None
        self._asked = False

    def __call__(self) -> Credential | None:
        if not self._asked:
            self._found = self._store.get(
                self._endpoint.host.domain or self._endpoint.host.name, self._endpoint.repository
            )
            self._asked = True
        return self._found
