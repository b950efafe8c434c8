"""Pairs of images that look alike, found with the retrieval head of MASt3R-SfM, where its weights are there."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ... import zoo
from .estimate import COMPLETE_UP_TO
from .inference import EncodedImages
from .network import Model, refuse_missing
from .pairs import Edge, both_ways
from .retrieval import parse_scene_graph, scene_graph_pairs, similarity_matrix

RETRIEVAL_MODEL = "mast3r-retrieval"
_KEY_IMAGES, _NEIGHBOURS = 20, 10


def is_retrieval(graph: str) -> bool:
    """Whether the pairs of this scene graph are chosen by what the images show."""
    return graph.split("-")[0] == "retrieval"


def automatic_retrieval(model: Model, count: int, kind: str) -> str | None:
    """The graph for many photos when the retrieval weights are on this machine and belong to the model's encoder."""
    if kind == "video" or count <= COMPLETE_UP_TO or not model.has_descriptors:
        return None
    if not zoo.is_downloaded(zoo.find_record(RETRIEVAL_MODEL)):
        return None
    return f"retrieval-{min(_KEY_IMAGES, count)}-{min(_NEIGHBOURS, count - 1)}"


def similar_pairs(
    encoded: EncodedImages, graph: str, device: torch.device, check_cancelled: Callable[[], None]
) -> list[Edge]:
    """Directed pairs, mirrored ones side by side, of a graph "retrieval-Na-k".

    Raises EngineError: "usage" for another form, "machine" when the retrieval weights are not here.
    """
    parse_scene_graph(graph, len(encoded.images))
    record = zoo.find_record(RETRIEVAL_MODEL)
    refuse_missing(record)
    head = zoo.load_model(record, device)
    codebook = zoo.load_codebook(record)
    features = []
    with torch.no_grad():
        for image in encoded.images:
            check_cancelled()
            strongest, _ = head.strongest(head(image.tokens.to(device).float()))
            features.append(strongest.features[0].cpu())
    del head
    return both_ways(scene_graph_pairs(similarity_matrix(features, codebook), graph, symmetrize=False))
