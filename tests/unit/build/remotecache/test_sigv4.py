"""Signatures, against the examples that AWS publishes for S3 (header-based authentication, single chunk)."""

from __future__ import annotations

import hashlib

from boxwright.build.remotecache.sigv4 import EMPTY, RequestSigner, escaped

# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
SIGNER = RequestSigner(
    access_key="AKIAIOSFODNN7EXAMPLE",
    secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    region="us-east-1",
)
HOST = "https://examplebucket.s3.amazonaws.com"
NOW = 1369353600.0  # 20130524T000000Z


def signature(headers: dict[str, str]) -> str:
    return headers["Authorization"].rpartition("Signature=")[2]


def test_get_object() -> None:
    signed = SIGNER.signed("GET", f"{HOST}/test.txt", headers={"Range": "bytes=0-9"}, now=NOW)
    assert signature(signed) == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert signed["x-amz-date"] == "20130524T000000Z" and signed["x-amz-content-sha256"] == EMPTY


def test_put_object() -> None:
    signed = SIGNER.signed(
        "PUT",
        f"{HOST}/{escaped('test$file.text')}",
        headers={"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
        payload=hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
        now=NOW,
    )
    assert signature(signed) == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"


def test_queries() -> None:
    signed = SIGNER.signed("GET", f"{HOST}/?lifecycle", now=NOW)
    assert signature(signed) == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    signed = SIGNER.signed("GET", f"{HOST}/?max-keys=2&prefix=J", now=NOW)
    assert signature(signed) == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"


def test_a_session_is_signed_and_nothing_is_shown() -> None:
    signer = RequestSigner(access_key="AK", secret_key="secret", region="r", session_token="token")
    signed = signer.signed("GET", f"{HOST}/x", now=NOW)
    assert signed["x-amz-security-token"] == "token"
    assert "x-amz-security-token" in signed["Authorization"]
    assert (
        "secret" not in repr(signer)
        and "token=" not in repr(signer)
        and "secret" not in signed["Authorization"]
    )


def test_escapes() -> None:
    assert escaped("a/sha256:b c~+é") == "a/sha256%3Ab%20c~%2B%C3%A9"
    assert escaped("a/b", slash=False) == "a%2Fb"
