"""The errors of connections to a peer, and the certificates by which one is trusted."""

from __future__ import annotations

from boxwright.errors import Invalid, Unavailable
from boxwright.registry.client.config import ClientConfig
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl


class PeerUnreachable(Unavailable):
    """The connection could not be made, or broke."""


class PeerAbsent(PeerUnreachable):
    """No connection at all: refused, no route, or no such name."""


class NotTls(PeerUnreachable):
    """The peer does not speak TLS on this port."""


class NotHttp(PeerUnreachable):
    """What the peer says is no answer of HTTP/1.1."""


class UntrustedPeer(Unavailable):
    """The peer's certificate does not check out. Trying again would not help."""


class ResponseTooLarge(Invalid):
    """A document is larger than anything sensible."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How to trust one host. `authorities` are PEM files; `client` is a certificate and its key."""

    verify: bool = True
    authorities: tuple[str, ...] = ()
    client: tuple[str, str] | None = None


ORDINARY = Tls()


def no_such_name(host: str) -> PeerAbsent:
    """The error for a host that has no address."""
    return PeerAbsent(
        f"cannot reach {host}: the name does not resolve",
        hint="check the name, the network and the proxy settings",
    )


def tls_context(tls: Tls, config: ClientConfig) -> ssl.SSLContext:
    """What checks a peer. Raises Invalid for certificates that cannot be used."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_default_certs()
        # Which has taken the file that the environment names; to read a bundle takes as long as a small command.
        if config.ca_bundle is not None and str(config.ca_bundle) != ssl.get_default_verify_paths().cafile:
            _load(context, str(config.ca_bundle))
        for path in tls.authorities:
            _load(context, path)
    if tls.client is not None:
        try:
            context.load_cert_chain(*tls.client)
        except (OSError, ssl.SSLError) as error:
            raise Invalid(f"cannot use the client certificate {tls.client[0]}: {error}") from error
    return context


def _load(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise Invalid(f"cannot use the certificate authorities in {path}: {error}") from error


def tls_failure(error: BaseException, host: str) -> Unavailable | None:
    """What an error of the TLS library means; None for anything else."""
    import ssl

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = (
            cause.__cause__
            or cause.__context__
            or next((a for a in cause.args if isinstance(a, BaseException)), None)
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UntrustedPeer(
            f"cannot trust {host}: {cause.verify_message}",
            hint=f"put its authority into /etc/docker/certs.d/{host}/ca.crt, or name the host under "
            f"insecure-registries",
        )
    if isinstance(cause, ssl.SSLError) and cause.reason in (
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "RECORD_LAYER_FAILURE",
        "PACKET_LENGTH_TOO_LONG",
        "UNEXPECTED_MESSAGE",
    ):
        return NotTls(
            f"{host} does not speak TLS",
            hint=f"if {host} is to be spoken to in plain text, name it under insecure-registries",
        )
    return None
