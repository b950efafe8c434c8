"""The parity check itself must be able to fail."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.parity.__main__ import main
from tests.parity.checking import close, same

DUST3R = Path(__file__).resolve().parents[1] / "data" / "parity" / "dust3r" / "linear"


@pytest.fixture
def folder(tmp_path):
    """A copy under a name that tells nothing."""
    shutil.copytree(DUST3R, tmp_path / "x")
    return tmp_path / "x"


def test_a_true_fixture_passes_whatever_its_folder_is_called(folder, capsys):
    assert main([str(folder)]) == 0
    assert "out1_pts3d" in capsys.readouterr().out


def test_a_changed_weight_fails(folder, capsys):
    weights = load_file(folder / "weights.safetensors")
    weights["dec_blocks2.0.mlp.fc1.weight"] = weights["dec_blocks2.0.mlp.fc1.weight"] * 1.01
    save_file(weights, folder / "weights.safetensors")
    assert main([str(folder)]) == 1
    out = capsys.readouterr().out
    assert "FAIL a_dec2_block0" in out
    assert "ok   a_enc_out1" in out


def test_a_missing_and_an_unexpected_key_fail(folder, capsys):
    weights = load_file(folder / "weights.safetensors")
    weights["surplus.weight"] = torch.zeros(1)
    del weights["enc_norm.bias"]
    save_file(weights, folder / "weights.safetensors")
    assert main([str(folder)]) != 0


def test_a_wrong_key_list_fails(folder, capsys):
    path = folder / "checkpoint_keys.json"
    entries = json.loads(path.read_text())
    entries[0]["keys"]["enc_norm.weight"] = [7]
    path.write_text(json.dumps(entries))
    assert main([str(folder)]) == 1
    assert "enc_norm.weight" in capsys.readouterr().out


def test_an_unknown_folder_is_told(tmp_path, capsys):
    (tmp_path / "notes.json").write_text("{}")
    assert main([str(tmp_path)]) == 2
    assert main([str(tmp_path / "absent")]) == 2


def test_comparisons():
    assert close("x", np.array([1.0, 2.0]), np.array([1.0, 2.0001])).passed
    assert not close("x", np.array([1.0, 2.0]), np.array([1.0, 2.001])).passed
    assert not close("x", np.zeros(3), np.zeros((3, 1))).passed
    assert not close("x", np.array([np.nan, 1.0]), np.array([0.0, 1.0])).passed
    assert close("x", np.array([np.inf, 1.0]), np.array([np.inf, 1.0])).passed
    assert not close("x", np.array([-np.inf, 1.0]), np.array([np.inf, 1.0])).passed
    assert same("x", {1, 2}, {2, 1}).passed
    assert not same("x", torch.tensor([1, 2]), torch.tensor([1, 3])).passed
