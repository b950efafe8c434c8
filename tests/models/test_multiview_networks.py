"""Properties of the networks that see all views at once which no stored output shows."""

from dataclasses import replace

import pytest
import torch

from blender_3r.engine.models import ARCHITECTURES
from blender_3r.engine.models.layers.vit import VisionTransformer
from blender_3r.engine.models.mv_dust3r import view_order
from blender_3r.engine.models.pi3 import rotation_from_numbers
from tests.models.support.tiny_multiview import QUERIES, TENSOR_IN, TINY, TINY_VGGT, assert_alike, make, tensors


@pytest.fixture(params=list(TENSOR_IN))
def network(request):
    return make(request.param)


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


@pytest.mark.parametrize(("architecture", "changes"), [*((name, {}) for name in TINY), ("mv_dust3r", {"n_ref": 1})])
def test_the_published_sizes_are_told_by_the_shapes_of_the_weights(architecture, changes):
    chosen = ARCHITECTURES[architecture]
    with torch.device("meta"):
        network = chosen.network_class(chosen.config_class(**changes))
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert chosen.config_class.from_shapes(shapes) == chosen.config_class(**changes)


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


@pytest.mark.parametrize("architecture", ["pi3", "pi3x"])
@torch.no_grad()
def test_no_view_is_special_to_pi3(architecture):
    network = make(architecture)
    images = torch.rand(1, 4, 3, 28, 42)
    order = [2, 0, 3, 1]
    plain, turned = tensors(network(images)), tensors(network(images[:, order]))
    if architecture == "pi3x":
        torch.testing.assert_close(turned.pop("scale"), plain.pop("scale"), rtol=1e-3, atol=1e-4)
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
def test_fast3r_takes_views_of_any_sizes_and_many():
    network = make("fast3r")
    sizes = [(32, 48), (48, 32), *[(32, 48)] * 9]
    images = [torch.rand(2, 3, *size) * 2 - 1 for size in sizes]
    numbers = torch.arange(11) * 7
    together = network(images, numbers)
    assert [tuple(view.points.shape) for view in together] == [(2, *size, 3) for size in sizes]
    scene = network([image[1:] for image in images], numbers)
    for ours, theirs in zip(together, scene):
        assert_alike({name: tensor[1:] for name, tensor in tensors(ours).items()}, tensors(theirs))
    order = [0, 5, 1, *range(2, 5), *range(6, 11)]
    turned = network([images[view] for view in order], numbers[order])
    for place, view in enumerate(order):
        assert_alike(tensors(turned[place]), tensors(together[view]))


def test_numbers_of_views_are_distinct_and_the_same_every_time():
    network = make("fast3r")
    numbers = network.view_numbers(1000)
    assert sorted(numbers.tolist()) == list(range(1000))
    assert numbers[0] == 0
    assert torch.equal(network.view_numbers(5), network.view_numbers(5))
    assert not torch.equal(network.view_numbers(5), network.view_numbers(5, seed=1))
    assert network.view_numbers(1).tolist() == [0]
    counted = make("fast3r", random_image_idx_embedding=False)
    assert counted.view_numbers(3).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="1001 views"):
        network.view_numbers(1001)


@torch.no_grad()
def test_fast3r_attends_sharper_where_its_file_asks_for_it():
    plain, sharper = make("fast3r"), make("fast3r", attn_bias_for_inference_enabled=True)
    images = [torch.rand(1, 3, 32, 32)] * 2
    assert sharper.decoder.dec_blocks[0].attn.scale == pytest.approx(0.5 * 1.28156, rel=1e-4)  # heads are 4 wide
    assert not torch.allclose(plain(images)[0].points, sharper(images)[0].points)


def test_files_written_while_training_fast3r_are_read():
    network = make("fast3r")
    state = {f"net.{name}": tensor for name, tensor in network.state_dict().items()}
    assert set(network.adapt_state_dict(state)) == set(network.state_dict())


@pytest.mark.parametrize("changes", [{}, {"n_ref": 1}])
@torch.no_grad()
def test_mv_dust3r_gives_scenes_and_paths_apart(changes):
    network = make("mv_dust3r", **changes)
    images = torch.rand(2, 10, 3, 16, 32) * 2 - 1
    first = network(images)
    every = network(images, all_paths=True)
    rows = len(every.points) // 2
    assert rows == network.config.n_ref
    assert_alike(tensors(first), {name: tensor[::rows] for name, tensor in tensors(every).items()})
    assert_alike({name: tensor[1:] for name, tensor in tensors(first).items()}, tensors(network(images[1:])))
    if rows > 1:  # path 1 is path 0 of the scene whose first two views changed places
        order = [1, 0, *range(2, 10)]
        turned = network(images[:, order], all_paths=True)
        assert_alike({"points": turned.points[0]}, {"points": every.points[1]})


def test_mv_dust3r_refuses_what_it_cannot_take():
    network = make("mv_dust3r")
    with pytest.raises(ValueError, match="at least 3 views, not 2"):
        network(torch.zeros(1, 2, 3, 16, 16))
    with pytest.raises(ValueError, match="at least 2 views, not 1"):
        make("mv_dust3r", n_ref=1)(torch.zeros(1, 1, 3, 16, 16))
    for architecture in ("mv_dust3r", "fast3r"):
        with pytest.raises(ValueError, match="30 x 32"):
            make(architecture).encode(torch.zeros(1, 3, 32, 30))


@pytest.mark.parametrize("architecture", ["fast3r", "mv_dust3r"])
@torch.no_grad()
def test_other_heads_stay_in_float32_under_autocast(architecture):
    network = make(architecture)
    images = torch.rand(1, 3, 3, 32, 48) * 2 - 1

    def run():
        found = network(images.unbind(1)) if architecture == "fast3r" else [network(images)]
        return {f"{view}.{name}": tensor for view, one in enumerate(found) for name, tensor in tensors(one).items()}

    exact = run()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = run()
    for name, tensor in rough.items():
        assert tensor.dtype == torch.float32, name
        assert (tensor - exact[name]).abs().max() < 0.2 * exact[name].abs().max(), name


def test_views_are_ordered_so_that_references_are_spread():
    assert view_order(1) == [0]
    for count in range(1, 60):
        assert sorted(view_order(count)) == list(range(count))
    assert view_order(40)[:4] == [0, 11, 21, 31]


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
