"""Masks as the panel sets them, in the request of a job."""

from __future__ import annotations

import bpy
import extension
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.service.settings import check_request
from blender_3r.operators import reconstruct

MOVIE = extension.ROOT / "demo" / "courtyard.mp4"


@pytest.fixture
def threer():
    extension.switch_on()
    settings = bpy.context.scene.threer
    settings.path = str(MOVIE)
    yield settings
    extension.switch_off()


def test_a_mask_goes_into_the_request(threer, tmp_path):
    assert "mask" not in reconstruct.request_of(threer)["settings"]
    threer.mask_from, threer.mask_path = "FILES", str(tmp_path)
    request = reconstruct.request_of(threer)
    assert request["settings"]["mask"] == str(tmp_path)
    assert "mask_invert" not in request["settings"]
    threer.mask_from, threer.mask_invert = "ALPHA", True
    request = reconstruct.request_of(threer)
    assert (request["settings"]["mask"], request["settings"]["mask_invert"]) == ("alpha", True)
    check_request(request)


def test_a_mask_that_is_not_chosen_is_told(threer):
    threer.mask_from = "FILES"
    with pytest.raises(EngineError, match="No mask is chosen"):
        reconstruct.request_of(threer)
