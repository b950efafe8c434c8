"""Properties of the networks that walk through a sequence, which no stored output shows."""

import pytest
import torch

from blender_3r.engine.models import ARCHITECTURES, build
from blender_3r.engine.models.cut3r import Cut3r, alignment_edges, alignment_sequences, state_positions

TINY = {
    "enc_embed_dim": 32,
    "enc_depth": 2,
    "enc_num_heads": 2,
    "dec_embed_dim": 16,
    "dec_depth": 4,
    "dec_num_heads": 2,
    "dpt_feature_dim": 8,
    "dpt_last_dim": 6,
    "dpt_layer_dims": (4, 6, 8, 10),
    "local_mem_size": 5,
    "ray_enc_num_heads": 8,
    "state_size": 7,
    "state_dec_num_heads": 4,
}


def images(count, height=32, width=48, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [("cut3r", {}), ("cut3r", {"head_type": "linear"})],
)
def test_the_published_sizes_are_told_by_the_shapes_of_the_weights(architecture, changes):
    chosen = ARCHITECTURES[architecture]
    with torch.device("meta"):
        network = chosen.network_class(chosen.config_class(**changes))
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert chosen.config_class.from_shapes(shapes) == chosen.config_class(**changes)


class TestCut3r:
    @pytest.fixture(params=["dpt", "linear"])
    def network(self, request):
        torch.manual_seed(3)
        return build("cut3r", {**TINY, "head_type": request.param})

    @torch.no_grad()
    def test_a_batch_gives_what_its_members_give(self, network):
        """Also where one member leaves the state as it is, and the other begins anew."""
        frames = [images(2, seed=i) for i in range(3)]
        flags = [((True, True), (False, False)), ((True, False), (False, False)), ((True, True), (False, True))]
        state, alone = network.start(2), [network.start(), network.start()]
        for frame, (update, reset) in zip(frames, torch.tensor(flags), strict=True):
            together, state = network.step(network.encode(frame), state, update, reset)
            for member in range(2):
                view = network.encode(frame[member : member + 1])
                single, alone[member] = network.step(view, alone[member], bool(update[member]), bool(reset[member]))
                assert_same([None if part is None else part[member : member + 1] for part in together], single)
        assert_same(state[:2], [torch.cat(parts) for parts in zip(alone[0][:2], alone[1][:2], strict=True)])
        assert state.views == 3

    @torch.no_grad()
    def test_flags_and_queries_touch_the_state_only_as_they_should(self, network):
        _, state = network.step(network.encode(images(1)), network.start())
        view = network.encode(images(1, seed=1))
        looked = network.query(view, state)
        seen, kept = network.step(view, state, update=False)
        assert_same(seen, looked)
        assert torch.equal(kept.tokens, state.tokens)
        assert torch.equal(kept.memory, state.memory)
        changed, fresh = network.step(view, state, reset=True)
        assert_same(changed, looked)  # the view that resets still sees the old state
        assert torch.equal(fresh.tokens, network.start().tokens)
        assert fresh.views == 2

    @torch.no_grad()
    def test_a_ray_map_is_a_view(self, network):
        rays = network.encode_rays(torch.rand(1, 32, 48, 6))
        image = network.encode(images(1))
        assert torch.equal(network.join(image, None).tokens, image.tokens)
        assert torch.equal(network.join(image, rays, masked=True).tokens, image.tokens + rays.tokens)
        assert torch.equal(network.join(None, rays, masked=True).tokens, rays.tokens + network.masked_img_token)
        assert network.query(rays, network.start()).own_points.shape == (1, 32, 48, 3)
        with pytest.raises(ValueError, match="image or a ray map"):
            network.join(None, None)

    @torch.no_grad()
    def test_poses_are_rotations_that_begin_in_one_half(self, network):
        pose = network.query(network.encode(images(4)), network.start(4)).pose
        torch.testing.assert_close(pose[:, 3:].norm(dim=1), torch.ones(4))
        assert (pose[:, 3] >= 0).all()

    @torch.no_grad()
    def test_heads_stay_in_float32_under_autocast(self, network):
        frame = images(1)
        exact, _ = network.step(network.encode(frame), network.start())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough, _ = network.step(network.encode(frame), network.start())
        assert {part.dtype for part in rough} == {torch.float32}
        assert (exact.world_points - rough.world_points).abs().max() < 0.1 * exact.world_points.abs().max()

    def test_an_image_that_does_not_divide_into_patches_is_refused(self, network):
        with pytest.raises(ValueError, match="30 x 32"):
            network.encode(torch.zeros(1, 3, 32, 30))

    def test_the_state_decoder_is_filled_from_the_images_where_a_file_has_but_one(self, network):
        state = {f"module.{name}": value for name, value in network.state_dict().items() if "blocks_state" not in name}
        adapted = Cut3r.adapt_state_dict(state)
        assert torch.equal(adapted["dec_blocks_state.3.mlp.fc1.weight"], state["module.dec_blocks.3.mlp.fc1.weight"])
        assert set(adapted) == set(network.state_dict())


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="other"):
        build("cut3r", {**TINY, "head_type": "other"})


def test_state_tokens_lie_on_a_grid_of_even_width():
    assert state_positions(768)[0, -1].tolist() == [27, 11]
    assert state_positions(9)[0, 4].tolist() == [1, 0]


def test_every_pair_of_even_distance_is_aligned():
    edges = alignment_edges(alignment_sequences(7))
    assert {edge for edge in edges if edge[0]} == {
        (i, j) for i in range(1, 7) for j in range(7) if i != j and (i - j) % 2 == 0
    }
    assert len(edges) == len(set(edges))


def test_views_of_a_sequence_keep_their_grid():
    view = build("cut3r", TINY).encode(images(1, 48, 32))
    assert view.grid == (3, 2)
