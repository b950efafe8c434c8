"""Puts the demo's two renders and the plate together into one picture. Runs in the engine's environment.

.venv/engine/bin/python -m scripts.demo_picture JOB VIEW OVERLAY.png OUTSIDE.png OUT.png CAPTION
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.media.frames import open_source
from blender_3r.engine.reconstruction import Intrinsics
from blender_3r.engine.source import Source

HEIGHT, GAP, BAR = 540, 6, 34
BACKGROUND, TEXT = (24, 24, 26), (210, 210, 214)


def undistort(image: np.ndarray, lens: Intrinsics) -> np.ndarray:
    """What a lens without distortion would have seen: the render's own lens has none."""
    if not lens.is_distorted:
        return image
    lens = lens.scaled_to(image.shape[1], image.shape[0])
    matrix = lens.matrix
    matrix[:2, 2] -= 0.5  # OpenCV counts from the first pixel's centre
    size = (image.shape[1], image.shape[0])
    maps = cv2.initUndistortRectifyMap(matrix, lens.distortion, None, matrix, size, cv2.CV_32FC1)
    return cv2.remap(image, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def over(plate: np.ndarray, overlay: Image.Image) -> np.ndarray:
    """The overlay (straight alpha) on the plate (h, w, 3), at the overlay's size."""
    layer = np.asarray(overlay.convert("RGBA"), dtype=np.float32)
    shrinks = plate.shape[0] > layer.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    base = cv2.resize(plate, (layer.shape[1], layer.shape[0]), interpolation=way).astype(np.float32)
    alpha = layer[..., 3:] / 255
    return np.round(layer[..., :3] * alpha + base * (1 - alpha)).astype(np.uint8)


def side_by_side(left: Image.Image, right: Image.Image, caption: str) -> Image.Image:
    """Both at one height, with a caption below."""
    panels = [picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT)) for picture in (left, right)]
    width = panels[0].width + GAP + panels[1].width
    sheet = Image.new("RGB", (width, HEIGHT + BAR), BACKGROUND)
    sheet.paste(panels[0], (0, 0))
    sheet.paste(panels[1], (panels[0].width + GAP, 0))
    ImageDraw.Draw(sheet).text((12, HEIGHT + BAR / 2), caption, TEXT, ImageFont.load_default(16), anchor="lm")
    return sheet


def main(arguments: list[str]) -> int:
    job, index, overlay, outside, out, caption = arguments
    folder = JobFolder.open(job)
    view = folder.read_cameras().views[int(index)]
    frames = open_source(Source.from_json(folder.read_json("request")["source"]))
    position = next(i for i, info in enumerate(frames.infos) if info.file == view.file)
    plate = undistort(frames.read(position), view.intrinsics)
    frames.close()
    left = Image.fromarray(over(plate, Image.open(overlay)))
    side_by_side(left, Image.open(outside).convert("RGB"), caption).save(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
