"""The whole path of the streaming method: weights, one try, and another with smaller images where that is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from ...media.frames import FrameSource
from ..base import Context, Event, Progress
from ..memory import DoesNotFit
from ..networks import choose_device, choose_precision, is_memory_error, loaded, out_of_memory, release
from .network import Model, choose_model
from .options import SMALLER_SIZE, Options
from .stages import LOADING
from .stream import Stream


def reconstruct(frames: FrameSource, options: Options, context: Context, method: str) -> Iterator[Event]:
    """Yield cameras and views as they come; see Method.

    Raises EngineError: "usage" for settings that contradict each other or the model, "machine" when weights, memory or
    the device are missing, "input" when no frame can be read, "unsolved" when no frame has a camera.
    """
    model = choose_model(options)
    options.refuse(model.architecture, frames.kind)
    torch.set_num_threads(context.threads)
    try:
        yield from _attempt(frames, options, context, method, model)
        return
    except DoesNotFit as error:
        if not options.allow_smaller or model.architecture == "spann3r" or model.image_size <= SMALLER_SIZE:
            raise
        message = error.message
    context.log(f"{message} It begins again with images of {SMALLER_SIZE} pixels.")
    told = f"Memory did not do for larger images, so {SMALLER_SIZE} pixels were used: the result is coarser."
    yield from _attempt(frames, options, context, method, replace(model, image_size=SMALLER_SIZE), told)


def _attempt(
    frames: FrameSource, options: Options, context: Context, method: str, model: Model, warning: str = ""
) -> Iterator[Event]:
    """One try; memory that runs out becomes a sentence with numbers."""
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    done = 0
    try:
        yield Progress("Loading the model", 0, 1, LOADING)
        with loaded(model, device, context.check_cancelled) as network:
            stream = Stream(frames, options, context, method, model, network, device, precision)
            if warning:
                stream.track.warnings.append(warning)
            for event in stream.run():
                done = len(stream.numbers)
                yield event
        return
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        failure = out_of_memory(
            model,
            device,
            f"frame {done + 1} at {model.image_size} pixels",
            "Allow smaller images, close other programs, or compute on another device (--device cpu).",
        )
    release(device)
    raise failure
