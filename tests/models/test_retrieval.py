"""Retrieval: the head, words and scores, pairs from similarities, and a codebook that is only read."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch

from blender_3r.engine.errors import EngineError
from blender_3r.engine.methods.pairwise.retrieval import (
    aggregate,
    farthest_points,
    nearest_words,
    parse_scene_graph,
    read_codebook,
    retrieval_pairs,
    scene_graph_pairs,
    similarity_matrix,
)
from blender_3r.engine.models.retrieval import RetrievalConfig, RetrievalHead, learn_whitening


def two_places(seed: int = 0) -> list[torch.Tensor]:
    """Features of six images: 0, 2, 4 show one place, 1, 3, 5 another."""
    rng = torch.Generator().manual_seed(seed)
    places = torch.randn(2, 20, 48, generator=rng) * 3
    return [places[number % 2] + 0.3 * torch.randn(20, 48, generator=rng) for number in range(6)]


def test_images_of_one_place_resemble_each_other():
    features = two_places()
    codebook = torch.randn(64, 48, generator=torch.Generator().manual_seed(5)) * 3
    scores = similarity_matrix(features, codebook.numpy())
    same = np.add.outer(np.arange(6), np.arange(6)) % 2 == 0
    off_diagonal = ~np.eye(6, dtype=bool)
    assert scores[same & off_diagonal].min() > 2 * scores[~same].max()
    pairs = retrieval_pairs(scores, 0, 3)
    assert pairs == [(0, 2), (0, 4), (1, 3), (1, 5), (2, 4), (3, 5)]


def test_words_are_the_nearest_centroids(monkeypatch):
    features, centroids = torch.randn(50, 8), torch.randn(200, 8)
    distance = torch.cdist(features.double(), centroids.double())
    monkeypatch.setattr("blender_3r.engine.methods.pairwise.retrieval.DISTANCES", 900)
    assert torch.equal(nearest_words(features, centroids, 5), distance.topk(5, largest=False).indices)


def test_bits_are_packed_from_the_highest():
    centroids = torch.zeros(3, 40)
    features = torch.full((1, 40), -1.0)
    features[0, [0, 33]] = 1.0
    image = aggregate(features, torch.tensor([[2]]), centroids)
    assert image.words.tolist() == [2]
    assert image.packed.tolist() == [[1 << 31, 1 << 30]]


def test_farthest_points_spread():
    place = np.array([0.0, 1.0, 2.0, 10.0, 11.0])
    distance = np.abs(np.subtract.outer(place, place))
    assert farthest_points(distance, 3, 0) == ([0, 4, 2], [0.0, 11.0, 2.0])
    assert farthest_points(distance, 5, 0, threshold=3.0)[0] == [0, 4]
    assert sorted(farthest_points(distance, 99, 2)[0]) == [0, 1, 2, 3, 4]


def test_scene_graph_names():
    assert parse_scene_graph("retrieval-20-10", 8) == (8, 7)
    assert parse_scene_graph("retrieval", 50) == (20, 10)
    assert parse_scene_graph("retrieval-5", 50) == (5, 10)
    for wrong in ("retrieval-20-1-10-1", "retrieval-a-3", "retrieval-0-0", "retrieval--3"):
        with pytest.raises(EngineError, match="not of the form"):
            parse_scene_graph(wrong, 8)
    similarity = np.exp(-np.abs(np.subtract.outer(np.arange(9.0), np.arange(9.0))))
    pairs = scene_graph_pairs(similarity, "retrieval-3-3")
    assert len(set(pairs)) == len(pairs)
    assert {(j, i) for i, j in pairs} == set(pairs)
    assert {i for i, _ in pairs} == set(range(9))
    assert all(i != j for i, j in pairs)


def test_head_keeps_the_tokens_with_most_attention():
    head = RetrievalHead(RetrievalConfig(dim=12, hdims=(8, 12), residual=True, postwhiten=True, nfeat=-0.25))
    tokens = torch.randn(2, 16, 12)
    with torch.no_grad():
        local = head(tokens)
        top, index = head.strongest(local)
    assert top.features.shape == (2, 4, 12)
    assert (top.attention.diff(dim=1) <= 0).all()
    assert top.attention[:, -1].min() >= local.attention.sort(dim=1, descending=True).values[:, 3].min()
    assert torch.equal(local.features[1, index[1]], top.features[1])
    few = RetrievalHead(RetrievalConfig(dim=12, nfeat=300)).strongest(local)[0]
    assert few.features.shape == (2, 16, 12)


def test_config_is_read_from_keys():
    for config in (
        RetrievalConfig(dim=12),
        RetrievalConfig(dim=12, hdims=(20, 16, 8), postwhiten=True),
        RetrievalConfig(dim=12, prewhiten=False, hdims=(8,)),
    ):
        shapes = {key: list(value.shape) for key, value in RetrievalHead(config).state_dict().items()}
        assert RetrievalConfig.from_shapes(shapes) == config
    with pytest.raises(ValueError, match="not those of a retrieval head"):
        RetrievalConfig.from_shapes({"backbone.mask_token": [1]})
    with pytest.raises(ValueError, match="must give 12 channels"):
        RetrievalConfig(dim=12, hdims=(8,), residual=True)


def test_weights_of_the_encoder_beside_the_head_are_left_alone():
    head = RetrievalHead(RetrievalConfig(dim=4))
    state = {**head.state_dict(), "backbone.mask_token": torch.zeros(1)}
    assert set(RetrievalHead.adapt_state_dict(state)) == {"prewhiten.m", "prewhiten.p"}


def test_whitening_makes_features_uncorrelated():
    features = torch.randn(500, 6) @ torch.randn(6, 6) + 3
    mean, matrix = learn_whitening(features)
    white = (features.double() - mean) @ matrix
    assert torch.allclose(white.T @ white / 500, torch.eye(6, dtype=torch.float64), atol=1e-8)


def test_codebook_is_read_and_nothing_else(tmp_path):
    centroids = np.arange(12, dtype=np.float32).reshape(4, 3)
    path = tmp_path / "codebook.pkl"
    path.write_bytes(pickle.dumps({"type": "Codebook", "params": {"size": "64k"}, "state": {"centroids": centroids}}))
    assert np.array_equal(read_codebook(path), centroids)

    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "made"),)

    path.write_bytes(pickle.dumps({"state": {"centroids": Evil()}}))
    with pytest.raises(EngineError, match="not an array"):
        read_codebook(path)
    assert not (tmp_path / "made").exists()
    for content in (b"", b"junk", pickle.dumps({"state": {}}), pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(EngineError, match="not a codebook"):
            read_codebook(path)
