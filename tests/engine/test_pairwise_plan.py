"""What the pairwise method decides before any network is loaded; nothing here needs torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.methods import list_methods, load_method, memory
from blender_3r.engine.methods.base import Context
from blender_3r.engine.methods.memory import in_gigabytes
from blender_3r.engine.methods.pairwise import estimate, method
from blender_3r.engine.methods.pairwise.estimate import Budget, automatic_graph
from blender_3r.engine.methods.pairwise.options import Options
from blender_3r.engine.methods.pairwise.pairs import both_ways, choose_pairs, graph_pairs
from blender_3r.engine.service.settings import check_request, fingerprint, make_request
from blender_3r.engine.source import source_from_path
from scripts.environments import ROOT

SIZE = (384, 512)
ALL_MAPS = 2 * 384 * 512 * 16  # bytes of one directed pair


def budget(count, available, alignment="global"):
    return Budget([SIZE] * count, alignment, available, graph_pairs)


def test_the_method_is_listed_without_torch():
    assert [info.id for info in list_methods()] == ["classic", "pairwise", "streaming", "multiview"]
    info = load_method("pairwise").INFO
    assert not info.commercial_use
    assert "torch" in info.needs
    code = (
        "import sys; from blender_3r.engine.methods import list_methods; list_methods(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_a_missing_torch_is_a_sentence(monkeypatch):
    monkeypatch.setattr(method, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(EngineError, match="needs PyTorch") as caught:
        next(method.run([None], {}, Context(None)))
    assert caught.value.kind == "machine"
    assert "nstall" in caught.value.hint


def test_every_pair_comes_beside_its_mirror_image():
    assert graph_pairs(3, "complete") == [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)]
    assert both_ways([(2, 1), (1, 2), (1, 1), (0, 3)]) == [(1, 2), (2, 1), (0, 3), (3, 0)]
    assert graph_pairs(1, "complete") == [(0, 0)]
    assert all(i != j for i, j in graph_pairs(4, "swin-5"))


def test_pairs_of_a_retrieval_graph_are_counted_beforehand():
    assert len(graph_pairs(40, "retrieval-10-3")) == 2 * (45 + 30 + 80)
    assert len(graph_pairs(5, "retrieval")) == 20  # no more than there are
    with pytest.raises(EngineError, match="retrieval-N-K"):
        graph_pairs(5, "retrieval-a")


@pytest.mark.parametrize(
    ("count", "kind", "graph"),
    [
        (16, "photos", "complete"),
        (16, "video", "complete"),
        (17, "video", "swin-5-noncyclic"),
        (40, "photos", "logwin-5"),
    ],
)
def test_the_automatic_graph(count, kind, graph):
    assert automatic_graph(count, kind) == graph
    pairs = choose_pairs("auto", kind, budget(count, None))
    assert pairs.graph == graph
    assert {image for edge in pairs.edges for image in edge} == set(range(count))


def test_what_does_not_fit_is_refused_with_what_does():
    copies = estimate.DENSE_COPIES["global"]
    available = int(copies * ALL_MAPS * 132)  # twelve images, all pairs
    choose_pairs("complete", "photos", budget(12, available))
    with pytest.raises(EngineError) as caught:
        choose_pairs("complete", "photos", budget(30, available))
    error = caught.value
    assert error.kind == "machine"
    assert error.message.startswith("30 images with the scene graph complete (870 pairs) need about")
    assert in_gigabytes(copies * ALL_MAPS * 870) in error.message
    assert in_gigabytes(available) in error.message
    assert "With this graph 12 images fit; all 30 fit with the scene graph swin-1" in error.hint
    choose_pairs("swin-1", "photos", budget(30, available))


def test_the_automatic_graph_becomes_smaller_instead():
    available = int(estimate.DENSE_COPIES["global"] * ALL_MAPS * 250)
    pairs = choose_pairs("auto", "video", budget(30, available))
    assert pairs.graph == "swin-3-noncyclic"
    assert "swin-3-noncyclic" in pairs.warnings[0]


def test_matches_take_less_memory_than_maps():
    sparse, dense, reference = (budget(40, None, alignment) for alignment in ("sparse", "global", "reference"))
    every, few = graph_pairs(40, "complete"), graph_pairs(40, "swin-1")
    assert sparse.needed([], 40) == 2 * sparse.needed([], 20)
    assert sparse.needed(every) - sparse.needed(few) < (dense.needed(every) - dense.needed(few)) / 4
    assert dense.needed(every) == pytest.approx(39 / 2 * dense.needed(few))
    assert reference.needed(few) > 4 * dense.needed(few)


def test_free_memory_is_known_and_limited_by_the_container(monkeypatch, tmp_path):
    free = memory.free_memory()
    assert free is None or free > 1 << 20
    for name, text in (
        ("memory.max", "3000"),
        ("memory.current", "1000"),
        ("memory.stat", "anon 5\ninactive_file 200"),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_system_free", lambda: 5000)  # it changes all the time
    assert memory.free_memory() == 2200
    (tmp_path / "memory.max").write_text("max")
    assert memory.free_memory() == 5000


def test_options_from_a_request():
    assert Options.from_json({"quality": "draft"}).steps == 100
    assert Options.from_json({"quality": "draft", "iterations": 7}).steps == 7
    assert Options().shares_focal("video")
    assert not Options().shares_focal("photos")
    assert Options(lens="shared").shares_focal("photos")
    assert not Options(lens="zoom").shares_focal("video")
    assert Options().alignment_for(True) == "sparse"
    assert Options().alignment_for(False) == "global"
    assert Options(memory_gb=2.5).memory_limit == 2_500_000_000


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("alignment", "icp"),
        ("image_size", 500),
        ("image_size", 16),
        ("iterations", 0),
        ("schedule", "step"),
        ("min_confidence", -1),
        ("precision", "int8"),
        ("memory_gb", 0),
        ("weights", ""),
        ("clean", 1),
    ],
)
def test_wrong_settings_are_refused(movie, name, bad):
    with pytest.raises(EngineError, match=name) as caught:
        make_request("pairwise", source_from_path(movie), {name: bad})
    assert caught.value.kind == "usage"


def test_other_weights_are_another_job(movie, tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"first")
    request = make_request("pairwise", source_from_path(movie), {"weights": str(weights), "image_size": 224})
    before = fingerprint(request)
    assert fingerprint(request) == before
    weights.write_bytes(b"second one")
    assert fingerprint(request) != before
    assert check_request(request)[2]["image_size"] == 224
