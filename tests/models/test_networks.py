"""Properties of the pairwise networks that no stored output shows."""

import pytest
import torch

from blender_3r.engine.models import ARCHITECTURES, build
from blender_3r.engine.models.dust3r import Dust3r, Dust3rConfig, Encoded
from blender_3r.engine.models.mast3r import Mast3rConfig

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
    "desc_dim": 5,
}


@pytest.fixture(params=["dust3r", "mast3r"])
def network(request):
    torch.manual_seed(3)
    return build(request.param, TINY)


@pytest.mark.parametrize(("first", "second"), [((48, 80), (48, 80)), ((48, 80), (64, 32))])
@torch.no_grad()
def test_what_is_kept_for_many_pairs_changes_nothing(network, first, second):
    images = torch.rand(2, 3, *first) * 2 - 1, torch.rand(2, 3, *second) * 2 - 1
    plain = network(*images)
    kept = network.predict(*(network.with_head_levels(network.encode(image)) for image in images))
    for ours, theirs in zip(plain, kept):
        for one, other in zip(ours, theirs):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_batch_gives_what_its_members_give(network):
    images = torch.rand(3, 3, 32, 64) * 2 - 1
    together = network.with_head_levels(network.encode(images))
    alone = [network.with_head_levels(network.encode(image[None])) for image in images]
    torch.testing.assert_close(together.tokens, torch.cat([view.tokens for view in alone]), rtol=1e-4, atol=1e-5)
    views = together.split()
    assert [view.tokens.shape[0] for view in views] == [1, 1, 1]
    batch = network.predict(Encoded.join([views[0], views[1]]), Encoded.join([views[2], views[0]]))
    single = network.predict(alone[1], alone[0])
    torch.testing.assert_close(batch[0].points[1:], single[0].points, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(batch[1].confidence[1:], single[1].confidence, rtol=1e-4, atol=1e-5)


def test_views_of_two_sizes_do_not_join(network):
    views = [network.encode(torch.zeros(1, 3, 32, 32)), network.encode(torch.zeros(1, 3, 32, 48))]
    with pytest.raises(ValueError, match="sizes"):
        Encoded.join(views)


def test_an_image_that_does_not_divide_into_patches_is_refused(network):
    with pytest.raises(ValueError, match="30 x 32"):
        network.encode(torch.zeros(1, 3, 32, 30))


@torch.no_grad()
def test_heads_stay_in_float32_under_autocast(network):
    images = torch.rand(1, 3, 32, 48) * 2 - 1
    exact = network(images, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoded = network.with_head_levels(network.encode(images))
        rough = network.predict(encoded, encoded)
    assert encoded.finest1.dtype == torch.float32
    for one, other in zip(exact, rough):
        assert other.points.dtype == torch.float32
        assert (one.points - other.points).abs().max() < 0.1 * one.points.abs().max()


def test_the_second_decoder_is_filled_from_the_first_where_a_file_has_but_one():
    network = Dust3r(Dust3rConfig(**{k: v for k, v in TINY.items() if k != "desc_dim"}))
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("dec_blocks2.")}
    adapted = Dust3r.adapt_state_dict(state)
    assert torch.equal(adapted["dec_blocks2.3.mlp.fc1.weight"], state["dec_blocks.3.mlp.fc1.weight"])
    network.load_state_dict(adapted, strict=True)


def test_a_tensor_stored_under_its_second_name_only_is_found():
    network = build("dust3r", TINY)
    state = network.state_dict()
    name = "downstream_head1.dpt.scratch.layer2_rn.weight"
    state["downstream_head1.dpt.scratch.layer_rn.1.weight"] = state.pop(name)
    assert set(Dust3r.adapt_state_dict(state)) == set(network.state_dict())


@pytest.mark.parametrize(
    ("architecture", "changes"), [("dust3r", {}), ("dust3r", {"head_type": "linear"}), ("mast3r", {}), ("croco", {})]
)
def test_the_published_sizes_are_told_by_the_shapes_of_the_weights(architecture, changes):
    chosen = ARCHITECTURES[architecture]
    with torch.device("meta"):
        network = chosen.network_class(chosen.config_class(**changes))
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert chosen.config_class.from_shapes(shapes) == chosen.config_class(**changes)


def test_unknown_ways_to_read_outputs_are_refused():
    network = build("dust3r", {**TINY, "depth_mode": "cubic"})
    with pytest.raises(ValueError, match="cubic"):
        network(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="head"):
        Dust3r(Dust3rConfig(head_type="other"))


def test_mast3r_has_the_published_defaults():
    assert Mast3rConfig().desc_dim == 24
    assert Mast3rConfig().hooks == (0, 6, 9, 12)
