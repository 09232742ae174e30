"""What images of others may say, key by key: read where it is used, refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.container import spec
from boxwright.container.config import ContainerConfig, ContainerConfigInvalid
from boxwright.container.creation import image_volumes
from boxwright.container.imageconfig import ImageOptions
from boxwright.spec.config import ImageConfig

ODD: tuple[Any, ...] = (
    1,
    True,
    1.5,
    "x",
    ["x"],
    [1],
    [None],
    [["x"]],
    {"x": {}},
    {"x": 1},
    {"x": None},
    [],
    {},
    "",
)
KEYS = "Cmd Entrypoint Env User WorkingDir Volumes ExposedPorts Labels OnBuild Shell StopSignal Healthcheck".split()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_value_is_taken_or_refused_with_its_key(key: str, value: Any) -> None:
    try:
        merged = spec.merge_config(
            {key: value}, ContainerConfig(image="i", command=("sh",)), hostname="h", image_name="i"
        )
    except ContainerConfigInvalid as error:
        assert key in str(error)
        return
    # The shapes that the engine, and programs that read `inspect`, rely on.
    assert all(isinstance(merged[k], str) for k in ("User", "WorkingDir"))
    assert all(
        isinstance(word, str) for k in ("Cmd", "Entrypoint", "Env", "OnBuild") for word in merged[k] or ()
    )
    assert all(
        isinstance(merged.get(k) or {}, dict) for k in ("Volumes", "ExposedPorts", "Labels", "Healthcheck")
    )
    assert all(isinstance(text, str) for text in merged["Labels"].values())


def test_only_what_needs_the_bad_value_is_refused() -> None:
    image = {"Healthcheck": {"Test": ["CMD", "true"], "Timeout": "a"}, "User": 7, "Cmd": {}, "Entrypoint": 5}
    own = ContainerConfig(image="i", command=("sh",), entrypoint=("e",), user="u", health={"Test": ["NONE"]})
    merged = spec.merge_config(image, own, hostname="h", image_name="i")
    assert (merged["User"], merged["Cmd"], merged["Healthcheck"]) == ("u", ["sh"], {"Test": ["NONE"]})
    with pytest.raises(
        ContainerConfigInvalid, match=r"the image's Healthcheck\.Timeout is not a whole number: 'a'"
    ):
        spec.merge_config(
            {"Healthcheck": image["Healthcheck"]}, ContainerConfig(image="i"), hostname="h", image_name="i"
        )


def test_a_text_is_a_list_of_one() -> None:
    assert ImageOptions({"Cmd": "sh"}).words("Cmd") == ["sh"]
    assert ImageOptions({"Cmd": ""}).words("Cmd") == []


@pytest.mark.parametrize("volume", ["/", "", "..", "/a/../..", "/a\0b"])
def test_volumes_that_cannot_be_mounted(volume: str) -> None:
    with pytest.raises(ContainerConfigInvalid, match="invalid volume"):
        image_volumes({"Volumes": {volume: {}}})


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_lists_of_images_bear_any_labels_and_variables(value: Any) -> None:
    config = ImageConfig.parse(
        b'{"architecture":"amd64","os":"linux","config":%s}'
        % __import__("json").dumps({"Labels": value, "Env": value}).encode()
    )
    assert isinstance(config.labels, dict) and isinstance(config.env, tuple)
