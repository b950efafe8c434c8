"""SIFT for photos: features, which pairs are worth matching, and matches.

Few photos are matched exhaustively. Of many, each is matched with its neighbours in the order of their names (walks
round an object are taken in order) and with those that look most alike anywhere (which closes loops): alike by VLAD
(Jegou et al. 2010) over a vocabulary clustered from the photos themselves, so that nothing has to be downloaded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pycolmap

from ..media.frames import FrameSource
from ..media.masks import Masks
from .mapping import MatchGraph

EXHAUSTIVE_UP_TO = 35  # photos
NEIGHBOURS = 6  # in the order of names, each way
ALIKE = 14  # photos that look most like one
WORDS = 64  # of the vocabulary
MIN_MATCHES = 15
PORTION = 120  # pairs matched between two reports


@dataclass(frozen=True)
class Features:
    """xy: (k, 2) float64 pixels of the original photo, top-left corner = (0, 0). descriptors: pycolmap's own form."""

    xy: np.ndarray
    descriptors: pycolmap.FeatureDescriptors

    def values(self) -> np.ndarray:
        """(k, 128) uint8."""
        return np.asarray(self.descriptors.data)


def extract_features(
    frames: FrameSource,
    max_side: int,
    max_features: int,
    threads: int,
    on_photo: Callable[[int], None] = lambda done: None,
    masks: Masks | None = None,
) -> list[Features]:
    """SIFT (Lowe 2004) of every photo, at no more than max_side pixels; on_photo(photos done) may raise to stop.

    masks: features on what they leave out are dropped.
    """
    options = pycolmap.FeatureExtractionOptions()
    options.sift.max_num_features = max_features
    options.num_threads = 1
    options.use_gpu = False

    def extract(index: int) -> Features:
        image = frames.read(index, max_side=max_side, gray=True)
        info = frames.infos[index]
        # An extractor keeps buffers of its own, so that each thread's call needs one.
        keypoints, descriptors = pycolmap.FeatureExtractor.create(options).extract_from_uint8_array(image)
        scale = np.array([info.width / image.shape[1], info.height / image.shape[0]])
        xy = pycolmap.keypoints_to_matrix(keypoints)[:, :2].astype(np.float64) * scale
        if masks is None:
            return Features(xy, descriptors)
        seen = ~masks.covered(index, xy, (info.width, info.height))
        values = np.ascontiguousarray(np.asarray(descriptors.data)[seen])
        return Features(xy[seen], pycolmap.FeatureDescriptors(descriptors.type, values))

    return _in_threads(extract, range(len(frames)), threads, on_photo)


def choose_pairs(features: list[Features]) -> list[tuple[int, int]]:
    """Which photos to match: all pairs of few, neighbours and look-alikes of many."""
    count = len(features)
    if count <= EXHAUSTIVE_UP_TO:
        return list(combinations(range(count), 2))
    pairs = {(a, b) for a in range(count) for b in range(a + 1, min(a + NEIGHBOURS, count - 1) + 1)}
    likeness = _likeness([f.values() for f in features])
    np.fill_diagonal(likeness, -np.inf)
    for a, row in enumerate(likeness):
        pairs.update((min(a, int(b)), max(a, int(b))) for b in np.argsort(-row)[:ALIKE])
    return sorted(pairs)


def match_features(
    features: list[Features],
    pairs: list[tuple[int, int]],
    threads: int,
    on_pairs: Callable[[int], None] = lambda done: None,
) -> MatchGraph:
    """Mutual nearest neighbours that pass Lowe's ratio test; on_pairs(pairs done) may raise to stop."""
    options = pycolmap.FeatureMatchingOptions()
    options.use_gpu = False
    options.num_threads = threads
    options.skip_geometric_verification = True
    keypoints = {index: feature.xy for index, feature in enumerate(features)}
    with tempfile.TemporaryDirectory(prefix="3r-matching-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "features.db"
        _write_features(path, features)
        pairing = pycolmap.ImportedPairingOptions()
        pairing.match_list_path = Path(folder) / "pairs.txt"
        # In portions, for progress and cancelling; pairs sorted by the first photo keep its search index in use.
        for start in range(0, len(pairs), PORTION):
            portion = pairs[start : start + PORTION]
            pairing.match_list_path.write_text("\n".join(f"{a:06d} {b:06d}" for a, b in portion))
            pycolmap.match_image_pairs(path, options, pairing, device=pycolmap.Device.cpu)
            on_pairs(start + len(portion))
        matches = {}
        with pycolmap.Database.open(path) as database:
            for pair, found in zip(*database.read_all_matches()):
                a, b = (number - 1 for number in pycolmap.pair_id_to_image_pair(pair))
                found = pycolmap.matches_to_matrix(found) if not isinstance(found, np.ndarray) else found
                if len(found) >= MIN_MATCHES:
                    matches[(a, b) if a < b else (b, a)] = found if a < b else found[:, ::-1]
    return MatchGraph(keypoints, matches)


def _write_features(path: Path, features: list[Features]) -> None:
    with pycolmap.Database.open(path) as database, pycolmap.DatabaseTransaction(database):
        camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=1, height=1, params=[1.0, 0.5, 0.5])
        camera.camera_id = database.write_camera(camera)
        rig = pycolmap.Rig()
        rig.add_ref_sensor(camera.sensor_id)
        rig_id = database.write_rig(rig)
        for index, feature in enumerate(features):
            image = pycolmap.Image()
            image.image_id, image.name, image.camera_id = index + 1, f"{index:06d}", camera.camera_id
            database.write_image(image, use_image_id=True)
            frame = pycolmap.Frame()
            frame.rig_id = rig_id
            frame.add_data_id(image.data_id)
            database.write_frame(frame)
            database.write_keypoints(index + 1, feature.xy.astype(np.float32))
            database.write_descriptors(index + 1, feature.descriptors)


def _in_threads(work: Callable, items: list | range, threads: int, on_done: Callable[[int], None]) -> list:
    with ThreadPoolExecutor(max(1, threads)) as pool:
        waiting = [pool.submit(work, item) for item in items]
        results = []
        try:
            for future in waiting:
                results.append(future.result())
                on_done(len(results))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def _likeness(descriptors: list[np.ndarray]) -> np.ndarray:
    """(n, n) cosine of VLAD vectors."""
    sampled = np.concatenate([d[:: max(1, len(d) // 400)] for d in descriptors if len(d)]).astype(np.float32)
    words = min(WORDS, max(1, len(sampled) // 8))
    cv2.setRNGSeed(1)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.5)
    centres = cv2.kmeans(sampled, words, None, stop, 1, cv2.KMEANS_PP_CENTERS)[2]
    vectors = np.zeros((len(descriptors), words * sampled.shape[1]), np.float32)
    for vector, values in zip(vectors, descriptors):
        if len(values) == 0:
            continue
        values = values.astype(np.float32)
        nearest = np.argmin(np.sum(centres**2, axis=1) - 2 * values @ centres.T, axis=1)
        total = np.zeros_like(centres)
        np.add.at(total, nearest, values - centres[nearest])
        # Per-word normalisation: a wallpaper's thousand equal features must not outvote the rest.
        total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-6)
        vector[:] = total.reshape(-1) / max(float(np.linalg.norm(total)), 1e-6)
    return vectors @ vectors.T
