"""Which wheels the lock tool takes for a platform."""

from __future__ import annotations

import pytest

from scripts.lock import PLATFORMS, Wheel, fits

LINUX, WINDOWS, MAC = PLATFORMS


@pytest.mark.parametrize(
    ("file", "platforms"),
    [
        ("a-1.0-py3-none-any.whl", {LINUX, WINDOWS, MAC}),
        ("a-1.0-py2.py3-none-any.whl", {LINUX, WINDOWS, MAC}),
        ("a-1.0-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", {LINUX}),
        ("a-1.0-cp310-cp310-manylinux_2_28_x86_64.whl", set()),
        ("a-1.0-cp313-cp313t-win_amd64.whl", set()),
        ("a-1.0-cp312-cp312-win_amd64.whl", {WINDOWS}),
        ("a-1.0-cp312-cp312-win_arm64.whl", set()),
        ("a-1.0-cp37-abi3-macosx_13_0_arm64.whl", {MAC}),
        ("a-1.0-cp312-abi3-macosx_13_0_arm64.whl", set()),  # not for Python 3.11, and all three must be served
        ("a-1.0-cp311-cp311-macosx_11_0_universal2.whl", {MAC}),
        ("a-1.0-cp311-cp311-musllinux_1_2_x86_64.whl", set()),
        ("a-1.0-cp311-cp311-manylinux_2_28_aarch64.whl", set()),
    ],
)
def test_a_wheel_is_for_its_platforms(file, platforms):
    assert {platform for platform in PLATFORMS if fits(Wheel(file, "", ""), platform)} == platforms
