"""Weights and rates of block devices: their texts, and what they are in the runtime's config."""

from __future__ import annotations

import json

import pytest

from boxwright.container import blockio, given
from boxwright.container.config import ContainerConfig, DeviceRate, HostDeviceMissing, Limits
from boxwright.container.options import OptionInvalid
from boxwright.container.spec import resources_of, with_block_io


@pytest.mark.parametrize(
    ("parse", "text", "rate"),
    [
        (blockio.parse_weight, "/dev/a:0", 0),
        (blockio.parse_weight, "/dev/a:1000", 1000),
        (blockio.parse_bps, "/dev/a:1mb", 1 << 20),
        (blockio.parse_bps, "/dev/a:0", 0),
        (blockio.parse_iops, "/dev/a:18446744073709551615", 2**64 - 1),
    ],
)
def test_texts(parse: object, text: str, rate: int) -> None:
    assert callable(parse) and parse(text) == DeviceRate("/dev/a", rate)


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (blockio.parse_weight, "/dev/a", "^bad format: /dev/a$"),
        (blockio.parse_weight, ":5", "^bad format: :5$"),
        (blockio.parse_weight, "a:5", "^bad format for device path: a:5$"),
        (blockio.parse_weight, "/dev/a:9", "^invalid weight for device: /dev/a:9$"),
        (blockio.parse_weight, "/dev/a:1001", "^invalid weight for device"),
        (blockio.parse_weight, "/dev/a:10\n", "^invalid weight for device"),
        (blockio.parse_bps, "/dev/a:-1", "^invalid rate for device: .* can be kb, mb, or gb$"),
        (blockio.parse_bps, "/dev/a:1:2", "^invalid rate for device"),
        (blockio.parse_bps, "/dev/a:99999999999999999999g", "^invalid rate for device"),
        (blockio.parse_iops, "/dev/a:1k", "<number>. Number must be a positive integer$"),
        (blockio.parse_iops, "/dev/a:18446744073709551616", "^invalid rate for device"),
    ],
)
def test_texts_that_are_none(parse: object, text: str, message: str) -> None:
    with pytest.raises(OptionInvalid, match=message):
        assert callable(parse) and parse(text)


def test_what_the_runtime_is_told() -> None:
    limits = Limits(
        blkio_weight=20,
        blkio_weight_device=(DeviceRate("/dev/null", 100),),
        device_read_bps=(DeviceRate("/dev/zero", 7),),
        device_write_iops=(DeviceRate("/dev/null", 8), DeviceRate("/dev/zero", 9)),
    )
    assert with_block_io(resources_of(limits), blockio.resources(limits)) == {
        "blockIO": {
            "weight": 20,
            "weightDevice": [{"major": 1, "minor": 3, "weight": 100}],
            "throttleReadBpsDevice": [{"major": 1, "minor": 5, "rate": 7}],
            "throttleWriteIOPSDevice": [
                {"major": 1, "minor": 3, "rate": 8},
                {"major": 1, "minor": 5, "rate": 9},
            ],
        }
    }
    kept = ContainerConfig.from_json(
        json.loads(json.dumps(ContainerConfig(image="i", limits=limits).to_json()))
    )
    assert kept.limits == limits


def test_a_device_that_is_not_there_ends_as_docker_has_it() -> None:
    with pytest.raises(
        HostDeviceMissing, match=r"^stat /dev/not-there: no such file or directory$"
    ) as caught:
        blockio.resources(Limits(device_read_bps=(DeviceRate("/dev/not-there", 1),)))
    assert caught.value.exit_code == 127


def test_a_program_gives_texts() -> None:
    config = given.config("i", (), {"limits": {"device_write_bps": "/dev/a:1k", "memory": 5}})
    assert config.limits == Limits(memory=5, device_write_bps=(DeviceRate("/dev/a", 1024),))
