"""The client as a whole: remotes by repository, login, catalog."""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.errors import BoxwrightError, Invalid
from boxwright.registry.client.auth import Credential, LoginRefused
from boxwright.registry.client.credentials import Stored
from boxwright.registry.client.endpoint import HUB
from boxwright.registry.client.errors import error_from
from boxwright.registry.client.remote import Remote
from boxwright.registry.client.session import RegistrySession, paged
from boxwright.registry.client.sessions import RegistrySessions
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """What a login did."""

    server: str
    username: str
    stored: Stored


class RegistryClient(RegistrySessions):
    """Speaks to any number of registries; shared by threads."""

    def remote(self, reference: Reference, *, push: bool = False, insecure: bool = False) -> Remote:
        """A repository as source and sink; with `push`, tokens are asked for writing at once; with `insecure`, its
        registry is spoken to over plain HTTP too, and with any certificate."""
        return Remote(self, reference, push=push, insecure=insecure)

    # --- accounts ------------------------------------------------------------------------------

    def login(self, server: str, credential: Credential) -> LoggedIn:
        """Check the credential with the server and keep it. Raises LoginRefused, Unavailable, CredentialsInvalid."""
        domain = server_name(server)
        host = self.hosts.origin(domain).host
        session = RegistrySession(
            http=self.http, config=self.config, host=host, credential=lambda: credential
        )
        reply = self.http.send("GET", f"{session.origin}{host.root}/", tls=host.tls)
        kept = credential
        if reply.status == 401:
            challenges = reply.headers("WWW-Authenticate")
            reply.release()
            token = session.auth.login(session.origin, challenges)
            if token is not None and token.refresh and not credential.identity_token:
                kept = Credential(credential.username, identity_token=token.refresh)
            header = f"Bearer {token.value}" if token is not None else credential.basic
            reply = self.http.send(
                "GET", f"{session.origin}{host.root}/", headers={"Authorization": header}, tls=host.tls
            )
            # A token without any scope may still get a 401 here; that it was given proves the account.
            if reply.status == 401 and token is None:
                said = error_from(reply, f"login to {domain}")
                raise LoginRefused(f"{said}", hint="check the user name and password")
        if reply.status not in (200, 401, 404):
            raise error_from(reply, f"login to {domain}")
        reply.release()
        self.forget()
        return LoggedIn(domain, credential.username, self.credentials.put(domain, kept))

    def logout(self, server: str) -> bool:
        """Forget the credential; whether there was one."""
        self.forget()
        return self.credentials.remove(server_name(server))

    # --- lists ---------------------------------------------------------------------------------

    def catalog(self, domain: str) -> Iterator[str]:
        """Every repository of a registry (``/v2/_catalog``, which many registries restrict)."""
        session, scopes = self.session(self.hosts.origin(domain)), ("registry:catalog:*",)
        session.introduce(scopes)
        yield from paged(
            session=session,
            url=session.url("/_catalog", [("n", "1000")]),
            key="repositories",
            scopes=scopes,
            what=f"the catalog of {domain}",
        )


def server_name(text: str) -> str:
    """The domain of what a user gives to `login`: ``''``, ``host:5000``, ``https://host/v1/``. Raises Invalid."""
    bare = text.removeprefix("https://").removeprefix("http://").strip("/")
    domain = bare.partition("/")[0]
    if not bare or domain in ("index.docker.io", "registry-1.docker.io", HUB):
        return HUB
    try:
        return (
            Reference.parse(f"{domain}/x").domain
            if "." in domain or ":" in domain or domain == "localhost"
            else _word(domain)
        )
    except BoxwrightError as error:
        raise Invalid(f"{text!r} is no registry: wanted host[:port]") from error


def _word(domain: str) -> str:
    if not domain.replace("-", "").isalnum():
        raise Invalid(f"{domain!r} is no registry: wanted host[:port]")
    return domain
