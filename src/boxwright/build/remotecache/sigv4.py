"""AWS Signature Version 4, as S3 wants it: headers of a request that prove who sends it. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit

from boxwright.spec.values import dataclass, field

EMPTY = hashlib.sha256(b"").hexdigest()
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSigner:
    """Who we are, and where."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str
    session_token: str = field(default="", repr=False)
    service: str = "s3"

    def signed(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        payload: str = EMPTY,
        now: float | None = None,
    ) -> dict[str, str]:
        """The headers with which the request is sent: the given ones and those that sign them. `payload` is the SHA-256
        of the body in hex; `now` is unix seconds. The path of the URL is escaped as `escaped` does it."""
        parts = urlsplit(url)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        sent = {**(headers or {}), "x-amz-content-sha256": payload, "x-amz-date": stamp}
        if self.session_token:
            sent["x-amz-security-token"] = self.session_token
        lines = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
        lines["host"] = parts.netloc
        names = ";".join(sorted(lines))
        query = "&".join(
            f"{escaped(k, slash=False)}={escaped(v, slash=False)}"
            for k, v in sorted(parse_qsl(parts.query, keep_blank_values=True))
        )
        request = "\n".join(
            (
                method,
                parts.path or "/",
                query,
                *(f"{name}:{lines[name]}" for name in sorted(lines)),
                "",
                names,
                payload,
            )
        )
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
        key = f"AWS4{self.secret_key}".encode()
        for part in (stamp[:8], self.region, self.service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        sent["Authorization"] = (
            f"{_ALGORITHM} Credential={self.access_key}/{scope},SignedHeaders={names},Signature={signature}"
        )
        return sent


def escaped(text: str, *, slash: bool = True) -> str:
    """As the rules have it: all but letters, digits and ``-._~`` in percent form; `slash`: a ``/`` stays."""
    return quote(text, safe="-._~/" if slash else "-._~")
