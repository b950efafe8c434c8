"""Frames to network input: size, cut and pixels of the scaled picture.

Three forms of the same rule are known: a list of cases in procedure_preprocess.json beside their pictures, pictures
with the long side in their names, and numbered cases that carry their size themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from blender_3r.engine.methods.pairwise.pictures import Picture, prepare

from .checking import Fixture, Result, close, same

_TENSORS = "procedure_preprocess.safetensors"
_CASES = "procedure_preprocess.json"


def checks(fixture: Fixture) -> Iterator[Result]:
    """All pictures of the folder; nothing where there are none in a form that is known."""
    if not fixture.has(_TENSORS):
        return
    names = fixture.tensor_names(_TENSORS)
    if fixture.has(_CASES) and any(re.fullmatch(r"case\d+_input_u8", name) for name in names):
        yield from _listed_cases(fixture)
    elif any(re.fullmatch(r"image\d+_(crop|resize)\d+", name) for name in names):
        yield from _cut_and_squeezed(fixture)
    elif any(re.fullmatch(r"\d+\.size", name) for name in names):
        yield from _numbered_cases(fixture)


def _listed_cases(fixture: Fixture) -> Iterator[Result]:
    tensors = fixture.tensors(_TENSORS)
    for case in fixture.json(_CASES):
        name = f"case{case['case']}_sq{int(case['square_ok'])}"
        picture = prepare(
            tensors[f"case{case['case']}_input_u8"].numpy(), case["size"], case.get("patch", 16), case["square_ok"]
        )
        yield same(f"preprocess {name} size", list(picture.size), list(case["output_hw"]))
        yield from _outputs(picture, name, f"{name}_output", tensors)


def _outputs(picture: Picture, name: str, prefix: str, tensors: dict) -> Iterator[Result]:
    """PREFIX: normalised, maybe a corner of it; PREFIX_u8: pixels; PREFIX_u8_everyNth: every N-th of them."""
    for key, reference in tensors.items():
        found = re.fullmatch(re.escape(prefix) + r"(_u8)?(?:_every(\d+)th)?", key)
        if not found:
            continue
        ours = picture.color.transpose(2, 0, 1) if found[1] else picture.tensor
        step = int(found[2] or 1)
        ours = ours[:, ::step, ::step]
        if found[1]:
            yield same(f"preprocess {name} pixels", ours, reference)
        else:
            yield close(f"preprocess {name} input", ours[:, : reference.shape[1], : reference.shape[2]], reference)


def _cut_and_squeezed(fixture: Fixture) -> Iterator[Result]:
    """imageK -> imageK_cropS and imageK_resizeS, S the long side; pixels or normalised, channels last or first."""
    tensors = fixture.tensors(_TENSORS)
    for key, reference in tensors.items():
        found = re.fullmatch(r"(image\d+)_(crop|resize)(\d+)", key)
        if not found:
            continue
        picture = prepare(tensors[found[1]].numpy(), int(found[3]), crop=found[2] == "crop")
        if reference.is_floating_point():
            yield close(f"preprocess {key}", picture.tensor.reshape(reference.shape), reference)
        else:
            yield same(f"preprocess {key}", picture.color, reference)


def _numbered_cases(fixture: Fixture) -> Iterator[Result]:
    """K.in_u8 and K.size -> K.out (or every N-th pixel of it, K.out_dsN) and K.true_shape."""
    tensors = fixture.tensors(_TENSORS)
    for key in sorted(name for name in tensors if re.fullmatch(r"\d+\.size", name)):
        number = key.partition(".")[0]
        picture = prepare(tensors[f"{number}.in_u8"].numpy(), int(tensors[key]))
        if f"{number}.true_shape" in tensors:
            shape = tensors[f"{number}.true_shape"]
            yield same(f"preprocess {number} size", np.array(picture.size), shape.reshape(-1))
        for name, reference in tensors.items():
            found = re.fullmatch(number + r"\.out(?:_ds(\d+))?", name)
            if found:
                step = int(found[1] or 1)
                yield close(f"preprocess {name}", picture.tensor[None, :, ::step, ::step], reference)
