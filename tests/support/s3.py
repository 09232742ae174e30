"""S3 by moto, which speaks its protocol and computes the signature of every request anew, with botocore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

REGION = "eu-central-1"


@dataclass
class Bucket:
    """An empty bucket, and the keys of one who may do everything."""

    url: str
    access_key: str
    secret_key: str
    client: Any
    name: str

    def keys(self) -> list[str]:
        """The names of the objects."""
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return sorted(entry["Key"] for entry in found)

    def read(self, key: str) -> bytes:
        """An object."""
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def options(self, **more: str) -> str:
        """Options of a cache in it."""
        own = {
            "type": "s3",
            "bucket": self.name,
            "region": REGION,
            "endpoint_url": self.url,
            "use_path_style": "true",
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
        }
        return ",".join(f"{key}={value}" for key, value in {**own, **more}.items())


@contextmanager
def s3() -> Iterator[Bucket]:
    """A server in this process."""
    server_module = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    from moto import settings
    from moto.core.authorization import ActionAuthenticatorMixin

    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    clients: list[Any] = []
    before = settings.INITIAL_NO_AUTH_ACTION_COUNT
    try:
        said = {"endpoint_url": url, "region_name": REGION}
        first = {"aws_access_key_id": "setup", "aws_secret_access_key": "setup"}
        iam = boto3.client("iam", **said, **first)
        clients.append(iam)
        user = f"ci{port}"
        iam.create_user(UserName=user)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
        iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=policy)
        client = boto3.client(
            "s3",
            **said,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
        )
        clients.append(client)
        name = f"caches-{port}"  # moto forgets nothing while the process lives
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        ActionAuthenticatorMixin.request_count = 0
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        yield Bucket(url, key["AccessKeyId"], key["SecretAccessKey"], client, name)
    finally:
        settings.INITIAL_NO_AUTH_ACTION_COUNT = before
        for opened in clients:
            opened.close()
        server.stop()
