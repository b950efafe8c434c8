"""Pairs of images that look alike, found with the retrieval head of MASt3R-SfM, where its weights are there."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ... import zoo
from ...errors import EngineError
from ..networks import refuse_missing
from .estimate import COMPLETE_UP_TO
from .inference import EncodedImages
from .network import Model
from .pairs import RETRIEVAL, RETRIEVED, Edge, both_ways
from .retrieval import scene_graph_pairs, similarity_matrix

RETRIEVAL_MODEL = "mast3r-retrieval"


def automatic_retrieval(model: Model, count: int, kind: str) -> str | None:
    """The graph for many photos when the retrieval weights are on this machine and belong to the model's encoder."""
    if kind == "video" or count <= COMPLETE_UP_TO or not model.has_descriptors:
        return None
    if not zoo.is_downloaded(zoo.find_record(RETRIEVAL_MODEL)):
        return None
    keys, neighbours = RETRIEVED
    return f"{RETRIEVAL}-{min(keys, count)}-{min(neighbours, count - 1)}"


def refuse_retrieval(model: Model) -> None:
    """Raise EngineError where pairs cannot be retrieved: "usage" for a model whose encoder the retrieval head does not
    know, "machine" when the retrieval weights are not on this machine.
    """
    if not model.has_descriptors:
        raise EngineError(
            "usage", "Images are retrieved with MASt3R's encoder only.", "Choose a MASt3R model or another scene graph."
        )
    refuse_missing(zoo.find_record(RETRIEVAL_MODEL))


def similar_pairs(
    encoded: EncodedImages, graph: str, device: torch.device, check_cancelled: Callable[[], None]
) -> list[Edge]:
    """Directed pairs, mirrored ones side by side, of a graph "retrieval-Na-k"; see refuse_retrieval()."""
    record = zoo.find_record(RETRIEVAL_MODEL)
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
