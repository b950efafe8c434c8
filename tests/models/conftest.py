"""Fixtures that several of the models' tests share."""

from __future__ import annotations

from collections import Counter

import pytest

from blender_3r.engine import zoo
from blender_3r.engine.methods.streaming import store
from blender_3r.engine.models import ARCHITECTURES
from tests.models.support.tiny_streaming import CONFIGS, write_records


@pytest.fixture(scope="session")
def tiny_streaming_records(tmp_path_factory):
    """A folder with the tiny networks that walk through a sequence."""
    yield write_records(tmp_path_factory.mktemp("records"))
    zoo.shared_cache().release_all()


@pytest.fixture
def tiny_streaming_zoo(tmp_path, monkeypatch, tiny_streaming_records):
    """No weights on this machine but the tiny ones; the streaming method keeps its state after every frame."""
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("BLENDER_3R_RECORDS", str(tiny_streaming_records))
    monkeypatch.setattr(store, "EVERY_S", 0.0)
    monkeypatch.setattr(store, "COST_SHARE", 1e9)


@pytest.fixture
def encoded(monkeypatch):
    """How often each picture went through an encoder, by what is in it."""
    seen = Counter()
    for name in CONFIGS:
        kind = ARCHITECTURES[name].network_class
        encode = kind.encode

        def counted(self, images, encode=encode):
            seen.update(image.numpy().tobytes() for image in images)
            return encode(self, images)

        monkeypatch.setattr(kind, "encode", counted)
    return seen
