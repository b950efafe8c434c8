"""Which pairs a graph holds."""

import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.methods.pairwise.graph import make_pairs


def test_a_single_image_is_paired_with_itself():
    assert make_pairs(1) == [(0, 0)]
    assert make_pairs(1, "swin-5-noncyclic") == [(0, 0)]


def test_complete_graph_puts_the_larger_number_first_and_swapped_pairs_behind():
    assert make_pairs(3) == [(1, 0), (2, 0), (2, 1), (0, 1), (0, 2), (1, 2)]
    assert make_pairs(3, symmetrize=False) == [(1, 0), (2, 0), (2, 1)]


def test_windows():
    assert make_pairs(5, "swin-1-noncyclic", symmetrize=False) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert (0, 4) in make_pairs(5, "swin-1", symmetrize=False)
    assert make_pairs(6, "swinstride-2-noncyclic", symmetrize=False) == [
        *[(0, 1), (0, 3), (1, 2), (1, 4), (2, 3), (2, 5), (3, 4), (4, 5)]
    ]
    assert set(make_pairs(9, "logwin-3-noncyclic", symmetrize=False)) >= {(0, 4), (3, 7), (0, 2)}
    assert len(make_pairs(20, "swin")) == 2 * 3 * 20  # a window of 3 unless told


def test_one_reference_of_both_families():
    assert make_pairs(3, "oneref-1", symmetrize=False) == [(1, 0), (1, 2)]
    assert make_pairs(3, "oneref-1") == [(1, 0), (1, 2), (0, 1), (2, 1)]
    assert make_pairs(3, "oneref-1", family="monst3r") == [(1, 0), (1, 1), (1, 2)]


def test_prefilters():
    assert make_pairs(6, "complete", False, "seq1") == [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)]
    assert (5, 0) in make_pairs(6, "complete", False, "cyc1")


@pytest.mark.parametrize(
    ("count", "graph", "more"),
    [
        (5, "swim-3", {}),
        (5, "swin-0", {}),
        (5, "complete-2", {}),
        (5, "swin-3-cyclic", {}),
        (5, "", {}),
        (5, "oneref-5", {}),
        (5, "complete", {"prefilter": "near3"}),
        (5, "complete", {"family": "other"}),
    ],
)
def test_what_is_unknown_is_told_as_a_sentence(count, graph, more):
    with pytest.raises(EngineError) as caught:
        make_pairs(count, graph, **more)
    assert caught.value.kind == "usage"
    assert caught.value.hint
