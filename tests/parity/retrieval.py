"""Retrieval: the head's features, words and scores of ASMK, and the pairs chosen from similarities."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from blender_3r.engine.methods.pairwise.retrieval import (
    QUERY_WORDS,
    aggregate,
    farthest_points,
    nearest_words,
    retrieval_pairs,
    similarity_matrix,
)
from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.retrieval import RetrievalConfig, RetrievalHead, learn_whitening

from .checking import NETWORK_TOLERANCE, Fixture, Result, close, same
from .networks import load_strictly, published_keys

_PROCEDURE = "procedure_retrieval"


def checks(fixture: Fixture) -> Iterator[Result]:
    facts = fixture.json(f"{_PROCEDURE}.json") if fixture.has(f"{_PROCEDURE}.json") else {}
    if fixture.has(f"{_PROCEDURE}.safetensors"):
        data = fixture.tensors(f"{_PROCEDURE}.safetensors")
        for name in fixture.files:
            if found := re.fullmatch(r"retrieval_(\w+)_weights\.safetensors", name):
                yield from _head(found[1], fixture.tensors(name), _config(fixture, facts, found[1]), data)
        yield from _whitening(data)
        yield from _asmk(data)
        if "fps_sim" in data:
            yield from _sampling(data["fps_sim"], facts)
    yield from published_keys(
        fixture, "retrieval", lambda keys: "prewhiten.m" in keys or any(key.startswith("projector.") for key in keys)
    )


def _config(fixture: Fixture, facts: dict[str, Any], head: str) -> dict[str, Any]:
    return facts.get(f"{head}_config") or fixture.config.get("retrieval", {}).get(f"{head}_config", {})


def _head(name: str, state: dict[str, Tensor], given: dict[str, Any], data: dict[str, Tensor]) -> Iterator[Result]:
    config = config_from_dict(RetrievalConfig, given)
    inferred = RetrievalConfig.from_shapes(
        {key: value.shape for key, value in state.items()}, residual=config.residual, nfeat=config.nfeat
    )
    yield same(f"{name} configuration from keys", inferred, config)
    head = load_strictly(RetrievalHead(config), state)
    for key in sorted(key for key in data if key.startswith(f"{name}_features_")):
        image = key.rsplit("_", 1)[1]
        with torch.no_grad():
            local = head(data[f"tokens_{image}"])
            top, index = head.strongest(local)
            whole = head.global_descriptor(local)
        yield close(f"{name} features {image}", local.features, data[key])
        for part, ours in (
            ("attention", local.attention),
            ("top_features", top.features),
            ("top_attention", top.attention),
            ("global", whole),
        ):
            if f"{name}_{part}_{image}" in data:
                yield close(f"{name} {part} {image}".replace("_", " "), ours, data[f"{name}_{part}_{image}"])
        if f"{name}_top_indices_{image}" in data:
            yield same(f"{name} top indices {image}", index, data[f"{name}_top_indices_{image}"])


def _whitening(data: dict[str, Tensor]) -> Iterator[Result]:
    if "pca_mean" not in data:
        return
    tokens = [value.flatten(0, 1) for name, value in data.items() if re.fullmatch(r"tokens_\d+", name)]
    mean, matrix = learn_whitening(torch.cat(tokens))
    yield close("whitening mean", mean, data["pca_mean"])
    yield close("whitening matrix, product", matrix @ matrix.T, data["pca_matrix"] @ data["pca_matrix"].T)
    signs = (matrix * data["pca_matrix"]).sum(dim=0).sign()
    variances = matrix.square().sum(dim=0).reciprocal()
    # The reference computes in float32; round-off turns eigenvectors by its size over the gap between eigenvalues.
    gap = float(-variances.diff().max()) if len(variances) > 1 else 1.0
    limit = max(NETWORK_TOLERANCE, 4 * torch.finfo(torch.float32).eps * float(variances.max()) / max(gap, 1e-30))
    yield close("whitening matrix", matrix * signs, data["pca_matrix"], limit, "up to the sign of columns")


def _asmk(data: dict[str, Tensor]) -> Iterator[Result]:
    if "asmk_features" not in data:
        return
    features, owner, centroids = data["asmk_features"], data["asmk_image_ids"], data["asmk_centroids"]
    for name in sorted(data):
        if found := re.fullmatch(r"asmk_words_ma(\d+)", name):
            yield same(f"nearest words, {found[1]}", nearest_words(features, centroids, int(found[1])), data[name])
        elif found := re.fullmatch(r"asmk_image(\d+)_(db|query)_words", name):
            mine = features[owner == int(found[1])]
            words = nearest_words(mine, centroids, 1 if found[2] == "db" else QUERY_WORDS)
            ours = aggregate(mine, words, centroids)
            side = f"asmk_image{found[1]}_{found[2]}"
            yield same(f"{side} words", ours.words, data[name])
            yield same(f"{side} bits", ours.packed.astype("int64"), data[f"{side}_packed"])
    images = [features[owner == number] for number in torch.unique(owner)]
    yield close("asmk scores", similarity_matrix(images, centroids), data["asmk_scores"])


def _sampling(similarity: Tensor, facts: dict[str, Any]) -> Iterator[Result]:
    matrix = similarity.numpy()
    for case in facts.get("fps", []):
        title = f"key images {case['Na']}, neighbours {case['k']}"
        if case["Na"] > 0:
            keys, _ = farthest_points(1.0 - matrix, case["Na"], case["start"])
            yield same(title, keys, case["keyframes"])
        pairs = retrieval_pairs(matrix, case["Na"], case["k"], case["start"])
        yield same(f"{title}: pairs", set(pairs), {tuple(pair) for pair in case["pairs"]})
    if case := facts.get("fps_threshold"):
        keys, distances = farthest_points(1.0 - matrix, len(matrix), case["start"], case["dist_thresh"])
        yield same("key images by distance", keys, case["indices"])
        yield close("key images' distances", distances, case["distances"])
