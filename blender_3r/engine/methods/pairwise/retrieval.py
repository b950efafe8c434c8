"""Which images to pair: similarity of images from their local features (ASMK), and pairs from the similarities.

ASMK: Tolias, Avrithis, Jegou, To aggregate or not to aggregate, ICCV 2013; in its binary form (Tolias, Jenicek, Chum,
ECCV 2020). Source: spec mast3r_sfm, sections 2.2 and 2.3.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import EngineError

# Words per feature of an image that is looked up; those of the images it is compared with have one.
QUERY_WORDS = 5
ALPHA = 3
# Distances held at once when words are looked up: 64 MB.
DISTANCES = 1 << 24
_BITS_IN_BYTE = np.array([bin(value).count("1") for value in range(256)], dtype=np.uint8)


def nearest_words(features: Tensor, centroids: Tensor, count: int = 1) -> Tensor:
    """The `count` nearest centroids (K, D) of features (n, D) in the Euclidean sense, nearest first: (n, count) int64.

    Exact, in blocks of bounded memory; on the device of the centroids.
    """
    count = min(count, len(centroids))
    features = features.to(centroids)
    square = centroids.square().sum(dim=1)
    rows = max(1, DISTANCES // len(centroids))
    found = []
    for start in range(0, len(features), rows):
        some = features[start : start + rows]
        found.append((square - 2.0 * (some @ centroids.T)).topk(count, dim=1, largest=False).indices)
    return torch.cat(found) if found else torch.zeros(0, count, dtype=torch.int64)


@dataclass(frozen=True)
class ImageWords:
    """words: (w,) int64, ascending. packed: (w, ceil(D / 32)) uint32, the bits of each word's aggregate."""

    words: np.ndarray
    packed: np.ndarray


def aggregate(features: Tensor, words: Tensor, centroids: Tensor) -> ImageWords:
    """One binary vector per distinct word of an image.

    features: (n, D). words: (n, m), each feature counts for all its words. A bit is set where the sum of the
    differences between features and centroid is positive. The first dimension is the highest bit of the first number,
    the last number is filled with zeros.
    """
    features = features.to(centroids)
    distinct, place = torch.unique(words.to(centroids.device), return_inverse=True)
    residual = features[:, None] - centroids[words.to(centroids.device)]
    total = torch.zeros(len(distinct), features.shape[1], dtype=features.dtype, device=features.device)
    total.index_add_(0, place.reshape(-1), residual.reshape(-1, features.shape[1]))
    bits = (total > 0).cpu().numpy()
    filled = np.zeros((len(bits), -(-bits.shape[1] // 32) * 32), dtype=bool)
    filled[:, : bits.shape[1]] = bits
    packed = np.packbits(filled, axis=1).view(">u4").astype(np.uint32)
    return ImageWords(distinct.cpu().numpy(), packed)


def similarity_matrix(features: list[Tensor], centroids: Tensor | np.ndarray) -> np.ndarray:
    """(n, n) float64: how much image [row], looked up, resembles image [column].

    features: (k_i, D) of each image, its strongest. centroids: (K, D), the codebook. Not symmetric, and the diagonal
    is not 1.
    """
    centroids = torch.as_tensor(centroids)
    base = [aggregate(some, nearest_words(some, centroids, 1), centroids) for some in features]
    owner = np.repeat(np.arange(len(base)), [len(image.words) for image in base])
    words = np.concatenate([image.words for image in base])
    packed = np.concatenate([image.packed for image in base])
    order = np.argsort(words, kind="stable")
    owner, words, packed = owner[order], words[order], packed[order]
    base_norm = np.sqrt(np.bincount(owner, minlength=len(base)))
    scores = np.zeros((len(features), len(features)))
    for row, some in enumerate(features):
        query = aggregate(some, nearest_words(some, centroids, QUERY_WORDS), centroids)
        sums = _word_scores(query, owner, words, packed, len(base))
        scores[row] = sums / np.maximum(base_norm, 1.0) / np.sqrt(max(len(query.words), 1))
    return scores


def _word_scores(query: ImageWords, owner: np.ndarray, words: np.ndarray, packed: np.ndarray, count: int) -> np.ndarray:
    """(count,) per image the sum of cubed similarities over the words in common; owner, words, packed: of all images,
    sorted by word.
    """
    start, stop = (np.searchsorted(words, query.words, side) for side in ("left", "right"))
    number = stop - start
    asked = np.repeat(np.arange(len(query.words)), number)
    found = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number) + start[asked]
    different = query.packed[asked] ^ packed[found]
    bits = _BITS_IN_BYTE[different.view(np.uint8).reshape(len(found), -1)].sum(axis=1, dtype=np.int64)
    similarity = 1.0 - 2.0 * bits / (32.0 * packed.shape[1])
    return np.bincount(owner[found], np.maximum(similarity, 0.0) ** ALPHA, minlength=count)


def farthest_points(
    distance: np.ndarray, count: int, start: int, threshold: float | None = None
) -> tuple[list[int], list[float]]:
    """Farthest point sampling: up to `count` images, each as far as possible from those chosen before.

    distance: (n, n), row of the chosen, column of the candidate. start: the first. threshold: stop before an image
    that is not farther than this. Returns the images and, for each, its distance to the ones before (0 for the first).
    """
    chosen, distances = [start], [0.0]
    nearest = np.array(distance[start], dtype=np.float64)
    while len(chosen) < min(count, len(distance)):
        nearest[chosen] = -np.inf
        best = int(np.argmax(nearest))
        if threshold is not None and nearest[best] <= threshold:
            break
        chosen.append(best)
        distances.append(float(nearest[best]))
        nearest = np.minimum(nearest, distance[best])
    return chosen, distances


def retrieval_pairs(
    similarity: np.ndarray, key_images: int, neighbours: int, start: int | None = None
) -> list[tuple[int, int]]:
    """Pairs of n images, each once, sorted: key images among each other, every image with its key image, and with the
    most similar ones.

    similarity: (n, n). key_images: how many, 0 for none. neighbours: how many of the most similar, the image itself
    normally being one. start: the first key image; the one that resembles the others most when None (the published
    program draws it). Pairs of key images are in the order of sampling, so (a, b) and (b, a) can both occur; others
    are (smaller, larger).
    """
    count = len(similarity)
    distance = 1.0 - np.asarray(similarity, dtype=np.float64)
    pairs: set[tuple[int, int]] = set()
    if key_images > 0:
        if start is None:
            start = int(np.argmax(similarity.sum(axis=1) - np.diag(similarity)))
        keys, _ = farthest_points(distance, key_images, start)
        pairs |= {(keys[a], keys[b]) for a in range(len(keys)) for b in range(a + 1, len(keys))}
        for image in sorted(set(range(count)) - set(keys)):
            nearest = keys[int(np.argmin(distance[image, keys]))]
            pairs.add((min(image, nearest), max(image, nearest)))
    if neighbours > 0:
        closest = np.argsort(distance, axis=1, kind="stable")[:, :neighbours]
        for image, others in enumerate(closest.tolist()):
            pairs |= {(min(image, other), max(image, other)) for other in others if other != image}
    return sorted(pairs)


def parse_scene_graph(scene_graph: str, count: int) -> tuple[int, int]:
    """(key images, neighbours) of "retrieval-Na-k"; fields left out are the authors' demo's, min(20, n) and
    min(10, n - 1). Raises EngineError for anything else.
    """
    name, *fields = scene_graph.split("-")
    known = name == "retrieval" and len(fields) <= 2 and all(field.isdecimal() for field in fields)
    if not known or [int(field) for field in fields] == [0, 0]:
        raise EngineError(
            "usage",
            f"The scene graph {scene_graph!r} is not of the form retrieval-Na-k.",
            "Give the number of key images and of neighbours, for example retrieval-20-10.",
        )
    given = [int(field) for field in fields] + [20, 10][len(fields) :]
    return min(given[0], count), min(given[1], max(count - 1, 1))


def scene_graph_pairs(similarity: np.ndarray, scene_graph: str, symmetrize: bool = True) -> list[tuple[int, int]]:
    """Directed pairs of a scene graph "retrieval-Na-k" over images with these similarities (n, n); symmetrised, the
    swapped pairs follow behind the others and no pair occurs twice.
    """
    pairs = retrieval_pairs(similarity, *parse_scene_graph(scene_graph, len(similarity)))
    if not symmetrize:
        return pairs
    return list(dict.fromkeys(pairs + [(j, i) for i, j in pairs]))


class _ArraysOnly(pickle.Unpickler):
    """Reads numpy arrays and plain containers; refuses whatever else a pickle may ask for."""

    ALLOWED = {
        (module, name)
        for package in ("numpy.core", "numpy._core")
        for module, name in ((f"{package}.multiarray", "_reconstruct"), (f"{package}.numeric", "_frombuffer"))
    } | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not an array")
        return super().find_class(module, name)


def read_codebook(path: Path) -> np.ndarray:
    """Centroids (K, D) float32 of a published codebook; nothing in the file is executed.

    Raises EngineError "input" when the file is not a codebook.
    """
    try:
        with open(path, "rb") as file:
            content = _ArraysOnly(file).load()
        centroids = np.ascontiguousarray(content["state"]["centroids"], dtype=np.float32)
        if centroids.ndim != 2 or not np.isfinite(centroids).all():
            raise ValueError("the centroids are not a table of numbers")
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, pickle.UnpicklingError) as error:
        raise EngineError(
            "input", f"{path.name} is not a codebook: {error}.", "Download the file again from its publisher."
        ) from error
    return centroids
