"""Pi3X: what is known beforehand, and videos in chunks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blender_3r.engine.geometry.similarity import fit_similarity
from blender_3r.engine.models.pi3 import Pi3Prediction, rotation_from_numbers
from blender_3r.engine.models.pi3x_priors import Priors, prepare_priors
from blender_3r.engine.models.pi3x_video import Pi3XVideo
from tests.models.support.tiny_multiview import assert_alike, make, tensors


def known_views(views=3, size=(28, 42)):
    """Everything known of one scene's views."""
    torch.manual_seed(2)
    poses = torch.eye(4).repeat(1, views, 1, 1)
    poses[0, :, :3, :3] = rotation_from_numbers(torch.eye(3).flatten() + 0.3 * torch.randn(views, 9))
    poses[0, :, :3, 3] = torch.randn(views, 3)
    intrinsics = torch.tensor([[40.0, 0, 21], [0, 42, 14], [0, 0, 1]]).expand(1, views, 3, 3)
    return Priors(depth=1 + torch.rand(1, views, *size), intrinsics=intrinsics, world_from_camera=poses)


@torch.no_grad()
def test_what_is_known_changes_the_result_only_where_it_is_used():
    network, images, known = make("pi3x"), torch.rand(1, 3, 3, 28, 42), known_views()
    plain = tensors(network(images))
    nowhere = torch.zeros(1, 3, dtype=torch.bool)
    unused = replace(known, use_depth=nowhere, use_rays=nowhere, use_poses=nowhere)
    assert_alike(tensors(network(images, unused)), plain)
    for name in ("use_depth", "use_rays", "use_poses"):
        used = replace(unused, **{name: torch.tensor([[True, True, False]])})
        assert (network(images, used).points - plain["points"]).abs().max() > 1e-4, name
    one = replace(unused, use_poses=torch.tensor([[False, True, False]]))
    assert_alike(tensors(network(images, one)), plain)
    assert not nowhere.any()


@torch.no_grad()
def test_priors_of_one_scene_leave_the_other_scenes_of_a_batch_alone():
    network, images, known = make("pi3x"), torch.rand(2, 3, 3, 28, 42), known_views()
    both = {name: torch.cat([getattr(known, name)] * 2) for name in ("depth", "intrinsics", "world_from_camera")}
    first_only = torch.tensor([[True] * 3, [False] * 3])
    together = network(images, Priors(**both, use_depth=first_only, use_rays=first_only, use_poses=first_only))
    torch.testing.assert_close(together.points[:1], network(images[:1], known).points, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(together.points[1:], network(images[1:]).points, rtol=1e-3, atol=1e-4)


def test_known_depth_and_poses_come_in_any_scale():
    known, views, size = known_views(), (1, 3), (28, 42)
    larger = replace(known, depth=known.depth * 7, world_from_camera=known.world_from_camera.clone())
    larger.world_from_camera[..., :3, 3] *= 7
    for ours, theirs in zip(*(prepare_priors(one, views, size, "cpu") for one in (known, larger))):
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-4, atol=1e-5)
    poses_only = [replace(one, depth=None) for one in (known, larger)]
    ours, theirs = (prepare_priors(one, views, size, "cpu").world_from_camera for one in poses_only)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours[0, 1:, :3, 3].norm(dim=-1).mean(), torch.tensor(1.0))
    still = replace(known, depth=None, world_from_camera=torch.eye(4).repeat(1, 3, 1, 1))
    still.world_from_camera[:, 1:, 0, 3] = 0.01
    assert prepare_priors(still, views, size, "cpu").world_from_camera[0, 1, 0, 3] == pytest.approx(0.01)


def test_rays_are_those_of_the_intrinsics():
    known, size = known_views(), (28, 42)
    rays = prepare_priors(known, (1, 3), size, "cpu").rays[0, 0]
    assert rays[:, 14, 20].tolist() == pytest.approx([(20.5 - 21) / 40, (14.5 - 14) / 42], rel=1e-4)
    told = torch.cat([rays, torch.ones(1, *size)]).permute(1, 2, 0).expand(1, 3, *size, 3) * 3
    again = prepare_priors(replace(known, rays=told), (1, 3), size, "cpu").rays[0, 0]
    torch.testing.assert_close(again, rays, rtol=1e-4, atol=1e-5)


def test_a_video_is_cut_into_chunks_that_each_add_something():
    network = make("pi3x")
    video = Pi3XVideo(network)
    assert video.chunks(5) == [(0, 5)]
    assert video.chunks(16) == [(0, 16)]
    assert video.chunks(17) == [(0, 16), (10, 17)]
    assert video.chunks(36) == [(0, 16), (10, 26), (20, 36)]
    with pytest.raises(ValueError, match="cannot overlap"):
        Pi3XVideo(network, 4, 4)


@torch.no_grad()
def test_chunks_of_a_video_are_moved_onto_each_other():
    """A network whose every chunk has a scale and a world of its own, which the shared frames must undo."""

    class Scaled:
        calls = 0

        def predict(self, patches, size):
            self.calls += 1
            factor, turn = float(self.calls), rotation_from_numbers(torch.randn(9))
            points = patches.unflatten(-1, (*size, 3)) @ turn.T * factor + self.calls
            poses = torch.eye(4).repeat(1, patches.shape[1], 1, 1)
            poses[..., :3, :3], poses[..., :3, 3] = turn, points.mean(dim=(2, 3))
            confidence = torch.zeros(1, patches.shape[1], *size)
            return Pi3Prediction(points, torch.ones_like(points), confidence, poses, points)

    truth = torch.randn(9, 4, 5, 3)
    video = Pi3XVideo(Scaled(), size=4, overlap=2)
    parts = list(video.run(truth.flatten(1), (4, 5)))
    assert [part.start for part in parts] == [0, 4, 6, 8]
    points = np.concatenate([part.points for part in parts])
    poses = np.concatenate([part.world_from_chunk.move_cameras(part.chunk_poses) for part in parts])
    back = fit_similarity(points.reshape(-1, 3), truth.numpy().reshape(-1, 3))
    np.testing.assert_allclose(back.apply(points), truth.numpy(), atol=1e-4)
    np.testing.assert_allclose(back.move_cameras(poses)[:, :3, 3], truth.numpy().mean(axis=(1, 2)), atol=1e-4)
    np.testing.assert_allclose(poses[:, :3, :3], poses[:1, :3, :3].repeat(9, axis=0), atol=1e-5)
