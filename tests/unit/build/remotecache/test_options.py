"""What ``--cache-from`` and ``--cache-to`` take, and what they refuse."""

from __future__ import annotations

import pytest

from boxwright.build.fields import RequestInvalid
from boxwright.build.options import request_of
from boxwright.build.remotecache.options import CachePlace, parse_all, parse_from, parse_to, seconds
from boxwright.errors import Invalid

S3 = "type=s3,bucket=b,region=r"


def test_a_name_alone_is_a_registry() -> None:
    for place in (parse_from("user/app:cache"), parse_to("user/app:cache")):
        assert place == CachePlace(type="registry", options={"ref": "user/app:cache"})
        assert place.shown == "user/app:cache" and place.mode == "min"
    assert [p.options["ref"] for p in parse_all(["a,b:1", "c"], {})] == ["a", "b:1", "c"]
    assert parse_all(["type=local,src=x,tag=t"], {})[0].shown == "local:x"


@pytest.mark.parametrize(
    "text",
    [
        "type=registry",
        "type=registry,ref=",
        "type=registry,ref=a/UPPER",
        "type=registry,ref=a,mode=max",  # a way to write, not to read
        "ref=a",
        "type=inline",
        "type=azblob,account_url=x",
        "type=registry,ref=a,registry.insecure=perhaps",
        "type=local,dest=x",
        "type=local",
        "type=gha,timeout=soon",
        "type=gha,version=1",
        'type=local,"src=x',
    ],
)
def test_refused_sources(text: str) -> None:
    with pytest.raises(Invalid):
        parse_from(text)


@pytest.mark.parametrize(
    "text",
    [
        "type=registry,ref=a,mode=middle",
        "type=registry,ref=a,compression=lzma",
        "type=registry,ref=a,compression-level=high",
        "type=registry,ref=a,ignore-error=x",
        "type=registry,ref=a,image-manifest=true,oci-mediatypes=false",
        "type=inline,mode=max",
        "type=local,src=x",
        f"{S3},upload_parallelism=0",
        f"{S3},touch_refresh=later",
        f"{S3},compression=zstd",
        "type=gha,ref=x",
    ],
)
def test_refused_destinations(text: str) -> None:
    with pytest.raises(Invalid):
        parse_to(text)


def test_what_the_environment_says() -> None:
    aws = {
        "AWS_BUCKET": "bucket",
        "AWS_REGION": "here",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "session",
    }
    place = parse_from("type=s3,region=there", aws)
    assert place.options == {"region": "there", "bucket": "bucket"}
    assert place.secrets == {"access_key_id": "id", "secret_access_key": "secret", "session_token": "session"}
    own = parse_from("type=s3,access_key_id=a,secret_access_key=b", aws)
    assert own.secrets == {"access_key_id": "a", "secret_access_key": "b"}  # and no session of another key
    actions = {
        "ACTIONS_RESULTS_URL": "http://r/",
        "ACTIONS_CACHE_URL": "http://c/",
        "ACTIONS_RUNTIME_TOKEN": "t",
    }
    place = parse_to("type=gha", actions)
    assert place.options["url_v2"] == "http://r/" and place.secrets == {"token": "t"}
    assert "t" not in repr(place).replace("type", "").replace("options", "").replace("http", "").split("'")


def test_a_bucket_needs_a_name_and_a_region() -> None:
    """Which the engine's environment may have, so that they are asked for when a build begins."""
    for text in ("type=s3", "type=s3,bucket=b", "type=s3,region=r"):
        with pytest.raises(RequestInvalid):
            parse_from(text).require()
    parse_from("type=s3").completed({"AWS_BUCKET": "b", "AWS_REGION": "r"}).require()
    assert parse_from("type=gha").completed({"ACTIONS_RUNTIME_TOKEN": "t"}).secrets == {"token": "t"}


def test_an_sdk_gives_texts_or_places(tmp_path: object) -> None:
    place = CachePlace(type="local", options={"src": "x"})
    request = request_of(None, {"cache_from": [place, "user/app"], "cache_to": "type=inline"})
    assert request.cache_from == (place, parse_from("user/app")) and request.cache_to == (
        parse_to("type=inline"),
    )
    assert not request.inline_cache
    assert request_of(None, {"build_args": {"BUILDKIT_INLINE_CACHE": "1"}}).inline_cache


def test_how_a_bucket_is_asked_again() -> None:
    parse_from(f"{S3},retry_mode=Adaptive,retry_max_attempts=3,disable_accept_encoding=true")
    for wrong in ("retry_mode=often", "retry_max_attempts=-1", "disable_accept_encoding=perhaps"):
        with pytest.raises(RequestInvalid):
            parse_to(f"{S3},{wrong}")


def test_values() -> None:
    place = parse_to(f"{S3},ignore-error=true,upload_parallelism=7,name=a;b")
    assert place.flag("ignore-error") and not place.flag("use_path_style") and place.flag("x", True)
    assert place.number("upload_parallelism", 4) == 7 and place.number("compression-level", None) is None
    assert seconds("1h30m", 0) == 5400 and seconds("", 7) == 7
    with pytest.raises(RequestInvalid):
        parse_to(f"{S3},use_path_style=maybe")
