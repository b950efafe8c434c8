"""Tracked points moved to where the pictures say they are, once cameras and points are known.

Lucas-Kanade hands a patch on from frame to frame: its errors add up along the track, and it knows nothing of the patch
growing or turning. With solved cameras the surface round a point can be drawn as any frame sees it. So the patches of
a track, all drawn alike, are averaged into one template, and every frame's patch is moved on to it by least squares
(Gruen, "Adaptive least squares correlation", 1985; the inverse compositional step of Baker and Matthews, "Lucas-Kanade
20 years on", 2004).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..geometry.cameras import Cameras, Observations
from ..media.frames import FrameSource
from .bundle import residuals
from .joins import join_tracks
from .tracks import WINDOW

STEPS = 3
LONGEST_STEP_PX = 1.0
FARTHEST_PX = 2.5  # of the images looked at, from the point's image, where the search begins; farther off is another
ALIKE = 0.7  # correlation with the template from which a patch is taken for the point's
FEW = 0.5  # share of a frame's patches; with fewer alike it is the frame that looks different (blur, a flash)
ENOUGH_VIEWS = 2


@dataclass(frozen=True)
class Aligned:
    """observations: all of those given, moved where found, and tracks that are one point under one number. trusted:
    (n,) bool, which may take part in a solve. source: (n,) which of those given each one is.
    """

    observations: Observations
    trusted: np.ndarray
    source: np.ndarray


def align_tracks(
    frames: FrameSource,
    observations: Observations,
    cameras: Cameras,
    points: np.ndarray,
    max_side: int,
    threads: int = 1,
    on_frame: Callable[[int], None] = lambda done: None,
) -> Aligned:
    """Observations aligned over all frames that see the same point, tracks of one point joined; sorted as before.

    observations: in pixels of the original frames, sorted by frame, then track. cameras, points (p, 3): a solve of
    them, nan where unknown. max_side: the longer side of the images looked at. The surface round a point is taken for a
    plane that faces the cameras. Not trusted are observations of no known point, those far from its image, and those
    whose patch does not look like the others; but a frame that looks different as a whole keeps its tracked places.
    on_frame is called 2 m times and may raise to stop. Every frame is read twice, and only one is in memory for each
    thread.
    """
    pixel = np.array([max(1.0, max(info.width, info.height) / max_side) for info in frames.infos])
    away = np.linalg.norm(residuals(observations, cameras, points), axis=1) / pixel[observations.frame]
    known = away < FARTHEST_PX  # false for nan
    views = np.bincount(observations.track[known], minlength=len(points))
    known &= (views >= ENOUGH_VIEWS)[observations.track]
    candidates = np.flatnonzero(known)
    axes = _surface_axes(observations[candidates], cameras, points, pixel)
    work = _Work(frames, observations, candidates, cameras, points, axes, max_side, max(1, threads))
    total = np.zeros((len(points), WINDOW * WINDOW), np.float32)
    for done, (rows, patches) in enumerate(work.each_frame(_Frame.patches), start=1):
        total[observations.track[rows]] += patches
        on_frame(done)
    template = _Template.of(total)
    owner = join_tracks(observations[candidates], cameras, points, template.look * np.sqrt(WEIGHT), ALIKE, pixel)
    observations = replace(observations, track=owner[observations.track])
    work = replace(work, observations=observations)
    xy, trusted = observations.xy.copy(), np.zeros(len(observations), bool)
    for number, (rows, (found, alike)) in enumerate(work.each_frame(lambda frame: frame.aligned(template)), start=1):
        different = alike.sum() < FEW * len(alike)
        trusted[rows] = True if different else alike
        xy[rows] = np.where((alike & ~different)[:, None], found, xy[rows])
        on_frame(len(cameras) + number)
    order = np.lexsort((observations.track, observations.frame))
    return Aligned(replace(observations, xy=xy)[order], trusted[order], order)


@dataclass(frozen=True)
class _Template:
    """Of every track: what its patch looks like, (p, w*w), of mean 0 and contrast 1; and to_shift (p, 2, w*w): rows
    that turn the difference of a patch from it into a shift on the surface, in patch pixels.
    """

    look: np.ndarray
    to_shift: np.ndarray

    @classmethod
    def of(cls, total: np.ndarray) -> _Template:
        """From the sums of the patches of each track."""
        look = _normalized(total)
        image = look.reshape(-1, WINDOW, WINDOW)
        gradient = np.stack([np.gradient(image, axis=2), np.gradient(image, axis=1)], axis=1).reshape(len(look), 2, -1)
        # Brightness and contrast are nobody's shift.
        gradient -= np.sum(gradient * WEIGHT, axis=2, keepdims=True)
        gradient -= np.sum(gradient * WEIGHT * look[:, None], axis=2, keepdims=True) * look[:, None]
        weighted = gradient * WEIGHT
        information = weighted @ gradient.transpose(0, 2, 1) + 1e-6 * np.eye(2, dtype=np.float32)
        return cls(look, np.linalg.inv(information) @ weighted)


@dataclass
class _Frame:
    """One frame's image (h, w) float32 and the patches to be looked at in it: where they are, start (k, 2) in pixels
    of that image with centres at integers, and how a patch lies there, warp (k, 2, 2) image pixels per patch pixel.
    """

    image: np.ndarray
    scale: np.ndarray  # original pixels per image pixel
    tracks: np.ndarray
    start: np.ndarray
    warp: np.ndarray

    def patches(self, at: np.ndarray | None = None) -> np.ndarray:
        """(k, w*w) of mean 0 and contrast 1."""
        at = self.start if at is None else at
        if len(at) == 0:
            return np.zeros((0, len(OFFSETS)), np.float32)
        place = np.float32(at)[:, None] + OFFSETS @ self.warp.transpose(0, 2, 1)
        return _normalized(
            cv2.remap(self.image, place[..., 0], place[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        )

    def aligned(self, template: _Template) -> tuple[np.ndarray, np.ndarray]:
        """((k, 2) places in original pixels, (k,) bool which look like their templates there)."""
        at, look, to_shift = self.start.copy(), template.look[self.tracks], template.to_shift[self.tracks]
        for _ in range(STEPS):
            difference = self.patches(at) - look
            shift = np.matmul(to_shift, difference[..., None])
            step = np.matmul(self.warp, shift)[..., 0]
            at -= np.clip(step, -LONGEST_STEP_PX, LONGEST_STEP_PX)
        alike = np.sum(self.patches(at) * look * WEIGHT, axis=1) > ALIKE
        alike &= np.linalg.norm(at - self.start, axis=1) < FARTHEST_PX
        return (at + 0.5) * self.scale, alike


@dataclass(frozen=True)
class _Work:
    frames: FrameSource
    observations: Observations
    candidates: np.ndarray
    cameras: Cameras
    points: np.ndarray
    axes: np.ndarray
    max_side: int
    threads: int

    def each_frame(self, task: Callable[[_Frame], object]) -> Iterator[tuple[np.ndarray, object]]:
        """(rows of observations, the task's result) for every frame, in order; frames are read one by one."""
        bounds = np.searchsorted(self.observations.frame[self.candidates], np.arange(len(self.cameras) + 1))
        with ThreadPoolExecutor(self.threads) as pool:
            waiting = []
            for index in range(len(self.cameras)):
                rows = self.candidates[bounds[index] : bounds[index + 1]]
                waiting.append((rows, pool.submit(task, self._frame(index, rows))))
                if len(waiting) > self.threads:
                    rows, result = waiting.pop(0)
                    yield rows, result.result()
            for rows, result in waiting:
                yield rows, result.result()

    def _frame(self, index: int, rows: np.ndarray) -> _Frame:
        info = self.frames.infos[index]
        image = self.frames.read(index, max_side=self.max_side, gray=True)
        scale = np.array([info.width / image.shape[1], info.height / image.shape[0]])
        tracks = self.observations.track[rows]
        frame, points, axes = np.full(len(rows), index), self.points[tracks], self.axes[tracks]
        ends = [self.cameras.project(frame, points + sign * axes[:, k]) for k in (0, 1) for sign in (1, -1)]
        warp = np.stack([ends[0] - ends[1], ends[2] - ends[3]], axis=2) / 2 / scale[:, None]
        start = self.cameras.project(frame, points) / scale - 0.5
        return _Frame(image.astype(np.float32), scale, tracks, start, warp.astype(np.float32))


def _surface_axes(observations: Observations, cameras: Cameras, points: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(p, 2, 3) steps on the surface round each point: across and down a frame from the middle of its track, as far
    as a pixel is in the frame of the usual distance. The surface faces the mean direction it is seen from. size: (m,)
    of the pixels of the images looked at, in original ones.
    """
    order = np.lexsort((observations.frame, observations.track))
    track, frame = observations.track[order], observations.frame[order]
    count = np.bincount(track, minlength=len(points))
    middle = (np.cumsum(count) - count + count // 2)[count > 0]
    depth = cameras.in_camera(frame, points[track])[:, 2]
    pixel = depth / cameras.focal[frame] * size[frame]
    usual = pixel[np.lexsort((pixel, track))][middle]
    sight = cameras.centers[frame] - points[track]
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    normal = np.zeros((len(points), 3))
    np.add.at(normal, track, sight)
    normal = normal[count > 0]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    across = cameras.world_from_camera[frame[middle], :3, 0]
    across = across - normal * np.sum(across * normal, axis=1, keepdims=True)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    down = np.cross(across, normal)
    down *= np.sign(np.sum(down * cameras.world_from_camera[frame[middle], :3, 1], axis=1, keepdims=True))
    axes = np.zeros((len(points), 2, 3))
    axes[count > 0] = np.stack([across, down], axis=1) * usual[:, None, None]
    return axes


def _window() -> tuple[np.ndarray, np.ndarray]:
    """((w*w, 2) places in a patch, (w*w,) their weights: a bell that is low at the rim, of sum 1)."""
    reach = np.arange(WINDOW, dtype=np.float32) - WINDOW // 2
    offsets = np.stack(np.meshgrid(reach, reach), axis=-1).reshape(-1, 2)
    weight = np.exp(-np.sum(offsets**2, axis=1) / (2 * (WINDOW / 4) ** 2))
    return offsets, (weight / weight.sum()).astype(np.float32)


OFFSETS, WEIGHT = _window()


def _normalized(patches: np.ndarray) -> np.ndarray:
    """(k, w*w) patches of weighted mean 0 and contrast 1; a plain one becomes 0."""
    patches = patches - np.sum(patches * WEIGHT, axis=1, keepdims=True)
    contrast = np.sqrt(np.sum(patches * patches * WEIGHT, axis=1, keepdims=True))
    return np.divide(patches, contrast, out=np.zeros_like(patches), where=contrast > 1e-3)
