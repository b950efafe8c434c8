"""The kinematic tree: which camera's pose is told relative to which other's (spec mast3r_sfm, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial.distance import squareform


@dataclass(frozen=True)
class KinematicTree:
    """root: index of the image that the world hangs on. edges: (parent, child), parents before their children."""

    root: int
    edges: list[tuple[int, int]]

    @property
    def parents(self) -> np.ndarray:
        """(n,) int: the parent of each image, -1 for the root."""
        parents = np.full(len(self.edges) + 1, -1)
        for parent, child in self.edges:
            parents[child] = parent
        return parents


def build_tree(matches: np.ndarray, blocks: np.ndarray, mode: str = "hclust-ward") -> KinematicTree:
    """The tree over n >= 1 images.

    matches: (n, n) symmetric numbers of matches. blocks: (n,) number of blocks of each image. mode: "hclust-ward"
    joins groups of images that see most of each other, "mst" takes the pairs with most matches. Raises ValueError
    for another mode.
    """
    if len(matches) == 1:
        return KinematicTree(0, [])
    if mode == "hclust-ward":
        return _rooted(_cluster_tree(np.asarray(matches, dtype=np.float64), np.asarray(blocks)))
    if mode == "mst":
        return _rooted(np.asarray(matches, dtype=np.float64))
    raise ValueError(f"unknown kinematic tree: {mode}")


def _cluster_tree(matches: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """(n, n) weights, 1 for the edges between the representatives of groups that Ward's rule merges."""
    count = len(matches)
    overlap = np.minimum(1.0, matches / (3.0 * np.minimum(blocks[:, None], blocks[None])))
    np.fill_diagonal(overlap, 1.0)
    distance = np.where(overlap == 0, 2.0, 1.0 - overlap)
    merges = linkage(squareform(distance, checks=False), method="ward")
    representatives = list(range(count))
    weights = np.zeros((count, count))
    for left, right in merges[:, :2].astype(int):
        a, b = representatives[left], representatives[right]
        weights[a, b] = weights[b, a] = 1.0
        winner = a if overlap[a].sum() > overlap[b].sum() else b
        overlap[winner] = np.maximum(overlap[a], overlap[b])
        representatives.append(winner)
    return weights


def _rooted(weights: np.ndarray) -> KinematicTree:
    """Maximum spanning tree, rooted in its middle as seen from two far ends."""
    tree = minimum_spanning_tree(csr_matrix(-weights))
    last = _order(tree, 0)[0][-1]
    first_order, _ = _order(tree, last)
    second_order, _ = _order(tree, first_order[-1])
    root = int(np.argmax(np.minimum(_ranks(first_order), _ranks(second_order))))
    order, predecessors = _order(tree, root)
    return KinematicTree(root, [(int(predecessors[node]), int(node)) for node in order[1:]])


def _order(tree: csr_matrix, start: int) -> tuple[np.ndarray, np.ndarray]:
    return breadth_first_order(tree, start, directed=False)


def _ranks(order: np.ndarray) -> np.ndarray:
    """(n,) position of each node in a visiting order."""
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def largest_part(count: int, edges: list[tuple[int, int]]) -> np.ndarray:
    """Indices, ascending, of the largest connected set of images; of equals the one with the smallest index."""
    pairs = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    sizes = np.bincount(labels)
    firsts = np.array([np.flatnonzero(labels == label)[0] for label in range(len(sizes))])
    best = np.lexsort((firsts, -sizes))[0]
    return np.flatnonzero(labels == best)
