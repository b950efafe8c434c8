"""Properties of the networks that see all views at once which no stored output shows."""

from dataclasses import replace

import pytest
import torch

from blender_3r.engine.models import ARCHITECTURES, build
from blender_3r.engine.models.layers.vit import VisionTransformer
from blender_3r.engine.models.pi3 import rotation_from_numbers

TINY_VIT = {
    "embed_dim": 16,
    "enc_depth": 1,
    "enc_num_heads": 2,
    "pos_embed_image_size": 42,
}
TINY_VGGT = {
    **TINY_VIT,
    "num_register_tokens": 2,
    "depth": 4,
    "num_heads": 2,
    "intermediate_layer_idx": (0, 1, 2, 3),
    "dpt_features": 8,
    "dpt_out_channels": (4, 8, 8, 12),
    "dpt_head_features_2": 6,
    "camera_trunk_depth": 1,
    "camera_num_heads": 2,
    "track": {
        "dim_in": 32,
        "dpt_out_channels": (4, 8, 8, 12),
        "features": 8,
        "corr_levels": 3,
        "corr_radius": 1,
        "hidden_size": 16,
        "tracker_num_heads": 2,
        "tracker_depth": 1,
        "num_virtual_tracks": 3,
        "iterations": 2,
    },
}
TINY_PI3 = {
    **TINY_VIT,
    "enc_num_register_tokens": 2,
    "dec_depth": 4,
    "dec_num_heads": 2,
    "dec_num_register_tokens": 2,
    "head_dec_embed_dim": 12,
    "head_dec_depth": 1,
    "head_dec_num_heads": 1,
    "camera_dim": 8,
}
TINY = {"vggt": TINY_VGGT, "pi3": TINY_PI3}
QUERIES = torch.tensor([[[3.0, 4.0], [20.5, 30.0]]])


def make(architecture, **changes):
    torch.manual_seed(5)
    network = build(architecture, {**TINY[architecture], **changes})
    for parameter in network.parameters():  # no token or scale stays at 0 or 1
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture(params=list(TINY))
def network(request):
    return make(request.param)


def tensors(prediction):
    """Every tensor of a prediction, by name."""
    found = {}
    for name, value in prediction._asdict().items():
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif value is not None:
            found |= {f"{name}.{key}": tensor for key, tensor in tensors(value).items()}
    return found


def assert_alike(ours, theirs):
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}")


@torch.no_grad()
def test_scenes_of_a_batch_do_not_touch_each_other(network):
    images = torch.rand(2, 3, 3, 28, 42)
    together = tensors(network(images))
    alone = tensors(network(images[1:]))
    assert_alike({name: tensor[1:] for name, tensor in together.items()}, alone)


@torch.no_grad()
def test_views_are_encoded_one_by_one_or_together(network):
    images = torch.rand(3, 3, 42, 28)
    together = network.encode(images)
    alone = torch.cat([network.encode(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_pictures_that_do_not_divide_into_patches_are_refused(network):
    with pytest.raises(ValueError, match="30 x 28"):
        network.encode(torch.zeros(1, 3, 28, 30))


@torch.no_grad()
def test_heads_stay_in_float32_under_autocast(network):
    images = torch.rand(1, 2, 3, 28, 42)
    exact = tensors(network(images))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = tensors(network(images))
    for name, tensor in rough.items():
        assert tensor.dtype == torch.float32, name
        assert (tensor - exact[name]).abs().max() < 0.2 * exact[name].abs().max(), name


@pytest.mark.parametrize("architecture", list(TINY))
def test_the_published_sizes_are_told_by_the_shapes_of_the_weights(architecture):
    chosen = ARCHITECTURES[architecture]
    with torch.device("meta"):
        network = chosen.network_class(chosen.config_class())
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert chosen.config_class.from_shapes(shapes) == chosen.config_class()


@torch.no_grad()
def test_more_views_than_a_head_takes_at_once():
    network = make("vggt")
    patches = network.encode(torch.rand(11, 3, 28, 28))
    aggregated = network.aggregate(patches[None], (28, 28))
    depth = network.predict(aggregated, ["depth"]).depth
    assert depth.shape == (1, 11, 28, 28)
    last = aggregated._replace(layers=[layer[:, 10:] for layer in aggregated.layers])
    torch.testing.assert_close(network.predict(last, ["depth"]).depth[:, 0], depth[:, 10], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_vggt_without_some_heads_gives_the_others():
    images = torch.rand(1, 2, 3, 28, 28)
    whole, part = make("vggt"), make("vggt", heads=("camera", "depth"))
    part.load_state_dict({name: value for name, value in whole.state_dict().items() if name in part.state_dict()})
    prediction = part(images, QUERIES)
    assert prediction.points is prediction.confidence is prediction.tracks is None
    torch.testing.assert_close(prediction.depth, whole(images).depth)
    config = whole.config
    shapes = {name: tuple(tensor.shape) for name, tensor in part.state_dict().items()}
    assert type(config).from_shapes(shapes).heads == ("camera", "depth")


@torch.no_grad()
def test_tracks_start_where_they_were_asked_for_and_are_followed_in_every_scene():
    network = make("vggt")
    images = torch.rand(2, 3, 3, 42, 42)
    queries = QUERIES.expand(2, -1, -1)
    both = network(images, queries).tracks
    assert both.positions.shape == (2, 3, 2, 2)
    torch.testing.assert_close(both.positions[:, 0], queries)
    assert ((both.visibility > 0) & (both.visibility < 1)).all()
    first_round = network(images[1:], queries[1:]).tracks.rounds[0]
    torch.testing.assert_close(both.rounds[0, 1:], first_round, rtol=1e-3, atol=1e-3)


def test_pictures_too_small_to_follow_points_in_are_refused():
    network = make("vggt", track={**TINY_VGGT["track"], "corr_levels": 5})
    with pytest.raises(ValueError, match="at least 32 pixels"):
        network(torch.rand(1, 1, 3, 28, 28), QUERIES)


@torch.no_grad()
def test_the_order_of_the_other_views_does_not_matter_to_vggt():
    network = make("vggt")
    images = torch.rand(1, 3, 3, 28, 42)
    order = [0, 2, 1]
    plain, turned = network(images), network(images[:, order])
    torch.testing.assert_close(turned.depth, plain.depth[:, order], rtol=1e-3, atol=1e-4)
    swapped = network(images[:, [1, 0, 2]])
    noise = (turned.depth - plain.depth[:, order]).abs().max()
    assert (swapped.depth[:, 0] - plain.depth[:, 1]).abs().max() > 20 * noise + 1e-6


@torch.no_grad()
def test_no_view_is_special_to_pi3():
    network = make("pi3")
    images = torch.rand(1, 4, 3, 28, 42)
    order = [2, 0, 3, 1]
    plain, turned = tensors(network(images)), tensors(network(images[:, order]))
    assert_alike(turned, {name: tensor[:, order] for name, tensor in plain.items()})


@torch.no_grad()
def test_pi3_reads_many_views_as_it_reads_few():
    network = make("pi3")
    grid = (2, 2)
    tokens = network.decode(torch.randn(1, 11, 4, 16), grid)
    together = network.read(tokens, (1, 11), grid)
    last = network.read(tokens[9:], (1, 2), grid)
    torch.testing.assert_close(last.points, together.points[:, 9:], rtol=1e-4, atol=1e-5)


def test_poses_of_pi3_are_rigid():
    numbers = torch.randn(20, 9)
    numbers[0] = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, -1])  # a mirror
    rotations = rotation_from_numbers(numbers)
    torch.testing.assert_close(rotations @ rotations.transpose(-1, -2), torch.eye(3).expand(20, 3, 3))
    torch.testing.assert_close(torch.det(rotations), torch.ones(20))
    turned = rotation_from_numbers(rotations.flatten(1) * 3)
    torch.testing.assert_close(turned, rotations)


@torch.no_grad()
def test_the_stored_table_of_positions_serves_only_its_own_grid():
    network = VisionTransformer(8, 1, 2, table_side=4)
    torch.nn.init.normal_(network.pos_embed)
    assert torch.equal(network.table_for((4, 4)), network.pos_embed)
    for grid in [(2, 8), (8, 2), (5, 4)]:
        table = network.table_for(grid)
        assert table.shape == (1, 1 + grid[0] * grid[1], 8)
        assert torch.equal(table[:, 0], network.pos_embed[:, 0])
    assert not torch.equal(network.table_for((2, 8)), network.pos_embed)


def test_a_head_that_is_not_published_is_not_told_by_the_shapes():
    chosen = ARCHITECTURES["vggt"]
    config = replace(chosen.config_class(), heads=("camera",))
    with torch.device("meta"):
        names = chosen.network_class(config).state_dict()
    assert {name.split(".")[0] for name in names} == {"aggregator", "camera_head"}
