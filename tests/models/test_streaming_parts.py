"""Parts of the models that walk through a sequence: memories, pointers, windows, positions, pictures."""

import numpy as np
import pytest
import torch

from blender_3r.engine.errors import EngineError
from blender_3r.engine.methods.streaming.pictures import plan_cut, prepare_covering, prepare_for_wint3r
from blender_3r.engine.models.cut3r import alignment_edges, alignment_sequences, state_positions
from blender_3r.engine.models.layers.rope import apply_rope, rope_tables_in_space
from blender_3r.engine.models.point3r_memory import Pointers, append, merge
from blender_3r.engine.models.spann3r_memory import MemoryLimits, SpatialMemory
from blender_3r.engine.models.wint3r_stream import plan_windows, slots_of_views


class TestSpatialMemory:
    def frame(self, seed, patches=4):
        return torch.randn(patches, 8, generator=torch.Generator().manual_seed(seed))

    def fill(self, limits, count):
        memory = SpatialMemory(limits)
        for seed in range(count):
            memory.add(self.frame(seed), self.frame(seed + 100))
            memory.read(self.frame(seed + 200), *[torch.nn.Identity()] * 3)
        return memory

    def test_it_stops_growing(self):
        memory = self.fill(MemoryLimits(2, 40, 0.0, 1.0), 40)
        assert 40 <= len(memory) <= 40 + 4
        assert memory.long_tokens + 4 * memory.frames == len(memory)
        assert torch.equal(self.fill(MemoryLimits(3, 0, 0.0, 1.0), 9).keys[-4:], self.frame(8))

    def test_without_long_term_memory_only_the_newest_frames_are_kept(self):
        memory = self.fill(MemoryLimits(3, 0, 0.0, 1.0), 9)
        assert torch.equal(memory.keys, torch.cat([self.frame(seed) for seed in (6, 7, 8)]))
        assert memory.counts.tolist() == [2] * 4 + [1] * 4 + [0] * 4

    def test_a_frame_like_one_of_the_last_is_not_stored(self):
        memory = self.fill(MemoryLimits(5, 400, 0.0, 0.95), 3)
        before = memory.counts.clone()
        assert not memory.add(self.frame(1) * 1.01, self.frame(7))
        assert memory.similarity == pytest.approx(1, abs=1e-5)
        assert torch.equal(memory.counts, before)
        assert memory.add(self.frame(9), self.frame(9))

    def test_what_is_read_most_is_kept(self):
        memory = self.fill(MemoryLimits(1, 400, 0.0, 1.0), 30)
        memory.limits = MemoryLimits(1, 60, 0.0, 1.0)
        memory.attention = memory.counts * torch.arange(120, 0, -1)
        keys = memory.keys.clone()
        memory.add(self.frame(50), self.frame(50))
        assert len(memory) == 60
        # The frames offered in the last five steps stay, and of the others those that were read most.
        kept = [bool((memory.keys == key).all(dim=1).any()) for key in keys]
        assert kept == [True] * 36 + [False] * 64 + [True] * 20

    def test_a_weight_below_the_threshold_is_not_read(self):
        memory = SpatialMemory(MemoryLimits(5, 400, 0.5, 1.0))
        identity = torch.nn.Identity()
        memory.add(torch.eye(4) * 10, torch.arange(16.0).view(4, 4))
        query = torch.eye(4)[1:2] * 10
        assert torch.equal(memory.read(query, identity, identity, identity), memory.values[1:2] + query)
        assert memory.attention.tolist() == [0, 1, 0, 0]
        nothing = memory.read(torch.zeros(1, 4), identity, identity, identity)  # all weights are 1/4
        assert torch.equal(nothing, torch.zeros(1, 4))

    def test_it_counts_in_full_precision_where_keys_are_not(self):
        memory = SpatialMemory(MemoryLimits(5, 4000, 0.0, 1.0))
        for _ in range(300):
            memory.add(self.frame(0).bfloat16(), self.frame(1).bfloat16())
        assert memory.counts[0] == 299
        memory.limits = MemoryLimits(5, 4000, 0.0, 0.95)
        assert not memory.add(self.frame(0).bfloat16(), self.frame(1).bfloat16())
        assert memory.similarity == pytest.approx(1, abs=1e-5)

    def test_an_empty_memory_cannot_be_read(self):
        with pytest.raises(ValueError, match="nothing"):
            SpatialMemory(MemoryLimits()).read(torch.zeros(1, 4), *[torch.nn.Identity()] * 3)


def test_pointers_merge_into_near_ones_and_keep_their_order():
    places = torch.tensor([[0.0, 0, 0], [20, 0, 0], [0, 0, 20]])
    old = Pointers(places, torch.tensor([[1.0], [2], [3]]))
    added = torch.tensor([[0.4, 0, 0], [10, 0, 0], [-0.2, 0, 0], [20, 0, 0.9]])
    new = Pointers(added, torch.tensor([[5.0], [6], [9], [8]]))
    merged = merge(old, new, 20)  # the threshold is about 1.4
    expected = torch.tensor([[0.1, 0, 0], [20, 0, 0.9], [0, 0, 20], [10, 0, 0]])
    torch.testing.assert_close(merged.positions, expected)
    assert merged.features.flatten().tolist() == [7, 8, 3, 6]
    assert append(old, new).features.flatten().tolist() == [1, 2, 3, 5, 6, 9, 8]
    assert old.positions[0].tolist() == [0, 0, 0]


def test_a_place_in_space_turns_all_channels_and_what_has_none_stays():
    tokens = torch.randn(1, 2, 3, 16)
    tables = rope_tables_in_space(torch.tensor([[[0.5, -1, 2], [0, 0, 0]]]), 16, (10, 100), untouched=1)
    turned = apply_rope(tokens, tables)
    torch.testing.assert_close(turned[:, :, 0], tokens[:, :, 0])
    torch.testing.assert_close(turned[:, :, 2], tokens[:, :, 2])
    assert (turned[:, :, 1] != tokens[:, :, 1]).all()


def test_windows_overlap_by_half_and_the_last_is_filled():
    assert plan_windows(7, 4) == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 6]]
    assert plan_windows(7, 6) == [[0, 1, 2, 3, 4, 5], [3, 4, 5, 6, 6, 6]]
    assert slots_of_views(plan_windows(5, 4)) == [[0], [1], [2, 4], [3, 5], [6, 7]]


class TestPictures:
    def test_a_cut_covers_and_its_camera_sees_the_same(self):
        image = np.zeros((61, 97, 3), dtype=np.uint8)
        image[20, 40] = 255
        picture = prepare_covering(image, (224, 224))
        assert picture.color.shape == (224, 224, 3)
        assert picture.original == (60, 96)
        row, column = np.unravel_index(picture.color[..., 0].argmax(), (224, 224))
        camera = plan_cut(97, 61, (224, 224)).intrinsics(np.array([[1.0, 0, 40], [0, 1, 20], [0, 0, 1]]))
        assert abs(camera[0, 2] - column) < 2
        assert abs(camera[1, 2] - row) < 2

    def test_upright_frames_are_cut_upright(self):
        assert plan_cut(90, 100, (64, 48)).size == (48, 64)
        assert plan_cut(95, 100, (64, 48)).size == (64, 48)

    def test_a_frame_of_one_column_is_refused(self):
        with pytest.raises(EngineError, match="1 x 50"):
            plan_cut(1, 50, (224, 224))

    def test_what_a_known_shape_lacks_is_black(self):
        panorama = np.full((100, 400, 3), 200, dtype=np.uint8)
        picture = prepare_for_wint3r(panorama)
        assert picture.size == (224, 512)
        assert picture.color[:40].max() == 0
        assert (picture.color[112] == 200).all()
        assert picture.tensor[0, 0, 0] == pytest.approx(-0.485 / 0.229)
        assert picture.to_whole(np.ones(picture.size)).shape == (128, 512)
        assert prepare_for_wint3r(panorama.transpose(1, 0, 2)).size == (512, 224)
        assert prepare_for_wint3r(panorama[:, :100]).size == (384, 512)


def test_state_tokens_lie_on_a_grid_of_even_width():
    assert state_positions(768)[0, -1].tolist() == [27, 11]
    assert state_positions(9)[0, 4].tolist() == [1, 0]


def test_every_pair_of_even_distance_is_aligned():
    edges = alignment_edges(alignment_sequences(7))
    assert {edge for edge in edges if edge[0]} == {
        (i, j) for i in range(1, 7) for j in range(7) if i != j and (i - j) % 2 == 0
    }
    assert len(edges) == len(set(edges))
