"""One run of the streaming benchmark, as a process of its own so that its peak memory is its own.

    python -m benchmarks.streaming_network shot MODEL FRAMES FOLDER
    python -m benchmarks.streaming_network full MODEL FRAMES [--device D] [--precision P]

`shot` takes a shot of so many small frames through the whole method, command line to job folder, with a tiny network of
random weights. `full` takes frames of noise through a network of full size with random weights: one of those that
stream, or one that sees all views at once. Prints one line of JSON. Random weights predict nothing; time and memory are
those of any weights.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from blender_3r.engine.methods.networks import computing
from blender_3r.engine.methods.streaming.drivers import DRIVERS, make_driver
from blender_3r.engine.methods.streaming.options import Options
from blender_3r.engine.models import build, prepare_for_inference

from .multiview import encoded_views
from .pairwise_network import Watch, make_images

ROOT = Path(__file__).resolve().parents[1]
SHOT = ROOT / "demo" / "courtyard.mp4"
SHOT_SIZE = (320, 180)
# (h, w) of the pictures at full size
SIZES = {"spann3r": (224, 224), "mv_dust3r": (224, 224), "vggt": (392, 518), "pi3": (392, 518), "pi3x": (392, 518)}
SIZE = (384, 512)
LEAST = {"mv_dust3r": 4}  # views
WARM_UP = {"wint3r": 4}  # frames that are not timed; of the others one


def write_shot(path: Path, count: int) -> Path:
    """A movie of so many frames: the demo shot forwards and backwards, again and again."""
    source = cv2.VideoCapture(str(SHOT))
    frames = []
    while (read := source.read())[0]:
        frames.append(cv2.resize(read[1], SHOT_SIZE, interpolation=cv2.INTER_AREA))
    source.release()
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 24.0, SHOT_SIZE)
    for number in range(count):
        writer.write(frames[there_and_back[number % len(there_and_back)]])
    writer.release()
    return path


def run_shot(model: str, count: int, folder: Path) -> dict[str, Any]:
    """The whole method; state_bytes: what the driver would keep at the end."""
    from blender_3r.engine.methods.streaming import stream
    from blender_3r.engine.service.runner import run_job
    from blender_3r.engine.service.settings import make_request
    from blender_3r.engine.source import source_from_path

    os.environ["BLENDER_3R_RECORDS"] = str(folder / "records")
    held = []
    leave = stream.Stream._warn_of_reshaped

    def watched(self: stream.Stream) -> None:
        held.append(sum(array.nbytes for array in self.driver.state().values()))
        leave(self)

    stream.Stream._warn_of_reshaped = watched
    settings = {"model": f"tiny-{model}", "device": "cpu", "threads": 1}
    source = source_from_path(folder / f"shot_{count}.mp4")
    summary = run_job(make_request("streaming", source, settings), folder / f"{model}_{count}", lambda *_, **__: None)
    return {"solved": summary["solved"], "state_bytes": held[-1]}


def full_size(model: str, device: torch.device) -> torch.nn.Module:
    """A network with the published sizes; weights drawn from one seed, small enough that activations stay finite."""
    network = build(model, {}, "meta").to_empty(device=device)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.fill_(1.0 if name.endswith("std") else 0.0)  # colours are divided by it
        for parameter in network.parameters():
            if parameter.ndim > 1:
                spread = (6 / (parameter.shape[0] + parameter[0].numel())) ** 0.5
                parameter.uniform_(-spread, spread)
            else:
                parameter.zero_()
        for module in network.modules():
            if isinstance(module, torch.nn.LayerNorm | torch.nn.GroupNorm) and module.weight is not None:
                module.weight.fill_(1.0)
    return prepare_for_inference(network.eval())


def run_full(model: str, count: int, device: torch.device, precision: str) -> dict[str, Any]:
    """Frames per second, without the first ones, and peak memory. MV-DUSt3R gets the views that it needs."""
    count = max(count, LEAST.get(model, 1))
    network = full_size(model, device)
    size = SIZES.get(model, SIZE)
    with computing(device, precision):
        laps = list((_streamed if model in DRIVERS else _at_once)(model, network, count, size, device))
    wall, cpu = np.sum(laps, axis=0)
    facts = {
        "frames": count,
        "frames_a_second": count / wall,
        "cpu_s": cpu / count,
        "size": f"{size[1]}x{size[0]}",
        "peak_mb": _peak(device),
    }
    parameters = sum(parameter.nbytes for parameter in {id(p): p for p in network.parameters()}.values())
    return {**facts, "weights_mb": parameters / 2**20}


def _streamed(
    model: str, network: torch.nn.Module, count: int, size: tuple[int, int], device: torch.device
) -> Iterator[np.ndarray]:
    """Wall and CPU seconds of each frame behind those that warm up."""
    before = WARM_UP.get(model, 2 if model == "spann3r" else 1)
    driver = make_driver(model, network, Options(), device, max(size))
    for number, image in enumerate(make_images(before + count, size, device)):
        watch = Watch(device.type)
        driver.push(network.encode(image[None]), None)
        if number >= before:
            yield watch.lap()


def _at_once(
    model: str, network: torch.nn.Module, count: int, size: tuple[int, int], device: torch.device
) -> Iterator[np.ndarray]:
    """Wall and CPU seconds of encoding all views, and of the pass."""
    from blender_3r.engine.methods.multiview import drivers
    from blender_3r.engine.methods.multiview.options import Options as MultiviewOptions

    driver = drivers.make_driver(model, network, MultiviewOptions())
    watch = Watch(device.type)
    views = encoded_views(driver, count, size)
    yield watch.lap()
    driver.predict(views, device)
    yield watch.lap()


def _peak(device: torch.device) -> float:
    """MiB: of the card, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=("shot", "full"))
    parser.add_argument("model")
    parser.add_argument("frames", type=int)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    np.seterr(all="ignore")  # what random weights predict is no geometry
    if options.way == "shot":
        facts = run_shot(options.model, options.frames, options.folder)
    else:
        facts = run_full(options.model, options.frames, torch.device(options.device), options.precision)
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
