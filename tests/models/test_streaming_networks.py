"""Properties of the networks that walk through a sequence, which no stored output shows."""

import pytest
import torch

from blender_3r.engine.models import ARCHITECTURES, build
from blender_3r.engine.models.cut3r import Cut3r
from blender_3r.engine.models.point3r import Point3r
from blender_3r.engine.models.spann3r import Spann3r, Spann3rStream, run_unordered
from blender_3r.engine.models.wint3r import WinT3r
from blender_3r.engine.models.wint3r_stream import WinT3rStream, plan_windows

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
    "memory_dec_num_heads": 4,
    "head_dim_proj": 12,
    "head_dim_upsample": (64, 32),
    "head_num_res_blocks": 1,
    "cam_trunk_depth": 2,
    "cam_num_heads": 4,
    "value_depth": 2,
    "value_num_heads": 4,
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
    [("cut3r", {}), ("cut3r", {"head_type": "linear"}), ("spann3r", {}), ("point3r", {}), ("wint3r", {})],
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


def test_views_of_a_sequence_keep_their_grid():
    view = build("cut3r", TINY).encode(images(1, 48, 32))
    assert view.grid == (3, 2)


class TestSpann3r:
    @pytest.fixture
    def network(self):
        torch.manual_seed(3)
        return build("spann3r", TINY)

    @torch.no_grad()
    def test_a_batch_gives_what_its_members_give(self, network):
        first, second = network.encode(images(2)), network.encode(images(2, seed=1))
        together = network.step(first, first, second)
        for member, (one, other) in enumerate(zip(first.split(), second.split(), strict=True)):
            alone = network.step(one, one, other)
            assert_same([part[member : member + 1] for part in together[2:]], alone[2:])
            assert_same([part[member : member + 1] for part in together.second[:2]], alone.second[:2])

    @torch.no_grad()
    def test_a_stream_gives_every_frame_when_the_next_is_there(self, network):
        stream = Spann3rStream(network)
        views = [network.encode(images(1, seed=i)) for i in range(4)]
        steps = [stream.push(view) for view in views]
        assert steps[0] is None
        beginning = network.step(views[0], views[0], views[1])
        assert_same(steps[1].first[:2], beginning.first[:2])
        memory = network.start()
        memory.add(beginning.keys[0], beginning.values[0])
        fused = network.look_up(views[1], beginning.next_query, memory)
        assert_same(steps[2].first[:2], network.step(views[1], fused, views[2]).first[:2])
        assert len(stream.memory) == 3 * 6  # the newest frame is not in it

    def test_a_stream_refuses_what_it_cannot_take(self, network):
        stream = Spann3rStream(network)
        stream.push(network.encode(images(1)))
        with pytest.raises(ValueError, match="one size"):
            stream.push(network.encode(images(1, 48, 48)))
        with pytest.raises(ValueError, match="frame by frame"):
            stream.push(network.encode(images(2)))
        with pytest.raises(ValueError, match="30 x 32"):
            network.encode(torch.zeros(1, 3, 32, 30))

    @torch.no_grad()
    def test_unordered_frames_are_each_taken_once(self, network):
        views = [network.encode(images(1, seed=i)) for i in range(4)]
        result = run_unordered(network, views)
        assert sorted(result.order) == [0, 1, 2, 3]
        assert len(result.predictions) == 4
        assert result.scores[result.order[0], result.order[1]] == result.scores.max()
        with pytest.raises(ValueError, match="two frames"):
            run_unordered(network, views[:1])

    @torch.no_grad()
    def test_heads_stay_in_float32_under_autocast(self, network):
        views = [network.encode(images(1, seed=i)) for i in range(2)]
        exact = network.step(views[0], views[0], views[1])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network.step(views[0], views[0], views[1])
        assert rough.first.points.dtype == rough.second.confidence.dtype == torch.float32
        difference = (exact.first.points - rough.first.points).abs().max()
        assert difference < 0.1 * exact.first.points.abs().max()

    def test_the_second_decoder_is_filled_from_the_first_where_a_file_has_but_one(self, network):
        state = {name: value for name, value in network.state_dict().items() if "dec_blocks2" not in name}
        adapted = Spann3r.adapt_state_dict({**state, "dust3r.mask_token": torch.zeros(1)})
        assert set(adapted) == set(network.state_dict())


class TestPoint3r:
    @pytest.fixture
    def network(self):
        torch.manual_seed(3)
        return build("point3r", TINY)

    @torch.no_grad()
    def test_a_step_leaves_the_state_it_was_given(self, network):
        """So that a run can go back to it, or branch."""
        view = network.encode(images(1))
        _, first = network.step(view, network.start())
        kept = [part.clone() for part in (first.pose_memory, *first.pointers, first.seen)]
        one, after = network.step(network.encode(images(1, seed=1)), first)
        other, again = network.step(network.encode(images(1, seed=1)), first)
        assert_same([first.pose_memory, *first.pointers, first.seen], kept)
        assert_same(one, other)
        assert_same(after.pointers, again.pointers)
        assert (first.views, after.views) == (1, 2)
        assert 6 <= len(after.pointers.positions) <= 12

    @torch.no_grad()
    def test_without_merging_every_pointer_is_kept(self, network):
        state = network.start()
        for _ in range(3):
            _, state = network.step(network.encode(images(1)), state, merging=False)
        assert state.pointers.features.shape == (3 * 6, 16)

    @torch.no_grad()
    def test_the_block_that_nothing_depends_on_changes_nothing(self, network):
        view = network.encode(images(1))
        _, state = network.step(view, network.start())
        token = network.pose_token
        assert_same(network.decode(view, state, token), network.decode(view, state, token, whole=True))

    def test_what_does_not_go_together_is_refused(self, network):
        with pytest.raises(ValueError, match="view by view"):
            network.step(network.encode(images(2)), network.start())
        _, state = network.step(network.encode(images(1)), network.start())
        with pytest.raises(ValueError, match="one size"):
            network.step(network.encode(images(1, 48, 48)), state)
        with pytest.raises(ValueError, match="30 x 32"):
            network.encode(torch.zeros(1, 3, 32, 30))

    @torch.no_grad()
    def test_a_batch_is_encoded_as_its_members_are(self, network):
        frames = images(3)
        together = network.encode(frames)
        assert_same([together.tokens], [torch.cat([network.encode(frame[None]).tokens for frame in frames])])

    @torch.no_grad()
    def test_heads_stay_in_float32_under_autocast(self, network):
        frame = images(1)
        exact, _ = network.step(network.encode(frame), network.start())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough, state = network.step(network.encode(frame), network.start())
            network.step(network.encode(frame), state)
        assert exact.color is None
        assert {part.dtype for part in rough[:5]} == {torch.float32}
        assert (exact.world_points - rough.world_points).abs().max() < 0.1 * exact.world_points.abs().max()

    def test_what_a_file_of_the_encoder_lacks_is_filled(self, network):
        state = network.state_dict()
        lacking = {name: v for name, v in state.items() if "_memory." not in name and "pts_patch" not in name}
        lacking |= {name: v for name, v in state.items() if name.startswith("decoder_embed_memory.")}
        assert set(Point3r.adapt_state_dict(lacking)) == set(state)


class TestWinT3r:
    @pytest.fixture
    def network(self):
        torch.manual_seed(3)
        network = build("wint3r", TINY)
        torch.nn.init.normal_(network.cam_head.empty_pose_tokens)
        return network

    @torch.no_grad()
    def test_a_batch_gives_what_its_members_give(self, network):
        views = [network.encode(images(2, seed=i)) for i in range(4)]
        together = network.window(views, network.start(2))
        for member in range(2):
            alone = network.window([view.split()[member] for view in views], network.start())
            assert_same([part[member : member + 1] for part in together], alone)

    @torch.no_grad()
    def test_later_windows_do_not_change_poses(self, network):
        pool = torch.randn(1, 12, 32)
        every = network.cameras(pool)
        torch.testing.assert_close(every[:, :, :8], network.cameras(pool[:, :8]))
        other = torch.cat([pool[:, :8], torch.randn(1, 4, 32)], dim=1)
        assert not torch.allclose(every[-1, :, 8:], network.cameras(other)[-1, :, 8:])
        other = torch.cat([torch.randn(1, 4, 32), pool[:, 4:]], dim=1)
        assert not torch.allclose(every[-1, :, 8:], network.cameras(other)[-1, :, 8:])

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 9])
    @torch.no_grad()
    def test_a_stream_has_the_planned_windows_as_soon_as_it_can(self, network, count):
        stream = WinT3rStream(network)
        found = []
        for i in range(count):
            result = stream.push(network.encode(images(1, seed=i)))
            if result is not None:
                assert result.views[-1] == i
                found.append(result)
        last = stream.finish()
        found += [] if last is None else [last]
        windows = plan_windows(count)
        assert [result.views for result in found] == windows
        improved = [view for result in found for view, better in zip(result.views, result.improves) if better]
        assert set(improved) == set(range(count))
        assert stream.state.pool.shape[1] == 4 * len(windows)
        assert len(stream.state.waiting) <= 4
        assert len(stream.state.surest) <= 2

    @torch.no_grad()
    def test_a_stream_goes_on_from_a_kept_state(self, network):
        views = [network.encode(images(1, seed=i)) for i in range(6)]
        whole, first = WinT3rStream(network), WinT3rStream(network)
        expected = [whole.push(view) for view in views][-1]
        for view in views[:4]:
            first.push(view)
        second = WinT3rStream(network, first.state)
        second.push(views[4])
        result = second.push(views[5])
        assert_same(result[1:4], expected[1:4])
        assert (result.views, result.improves) == (expected.views, expected.improves)

    def test_what_does_not_go_together_is_refused(self, network):
        stream = WinT3rStream(network)
        assert stream.finish() is None
        stream.push(network.encode(images(1)))
        with pytest.raises(ValueError, match="one size"):
            stream.push(network.encode(images(1, 48, 48)))
        with pytest.raises(ValueError, match="view by view"):
            stream.push(network.encode(images(2)))
        with pytest.raises(ValueError, match="30 x 32"):
            network.encode(torch.zeros(1, 3, 32, 30))
        views = [network.encode(images(1)), network.encode(images(1, 48, 48))]
        with pytest.raises(ValueError, match="one size"):
            network.window(views, network.start())
        with pytest.raises(ValueError, match="rounding"):
            build("wint3r", {**TINY, "encoder_half": "quarter"}).encode(images(1))

    @torch.no_grad()
    def test_heads_stay_in_float32_under_autocast(self, network):
        views = [network.encode(images(1, seed=i)) for i in range(4)]
        exact = network.window(views, network.start())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network.window(views, network.start())
            poses = network.cameras(rough.camera_tokens)
        assert rough.points.dtype == rough.confidence.dtype == poses.dtype == torch.float32
        assert (exact.points - rough.points).abs().max() < 0.1 * exact.points.abs().max()

    def test_a_prefix_of_all_names_is_taken_away(self, network):
        state = {f"module.{name}": value for name, value in network.state_dict().items()}
        assert set(WinT3r.adapt_state_dict(state)) == set(network.state_dict())
