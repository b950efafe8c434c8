"""The engine's self-test: what it demands of each profile, and what it says of devices."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.service import check, devices


class StandInTorch:
    """As much of PyTorch as a product of matrices takes. wrong: devices that calculate badly. ill: that raise."""

    float32 = np.float32

    def __init__(self, cards: dict[str, int], wrong: str = "", ill: str = "", has_mps: bool = False) -> None:
        self._cards, self._wrong, self._ill = cards, wrong, ill
        self.cuda = SimpleNamespace(
            is_available=lambda: bool(cards),
            device_count=lambda: len(cards),
            get_device_properties=lambda number: SimpleNamespace(
                name=list(cards)[number], total_memory=list(cards.values())[number]
            ),
        )
        self.backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: has_mps))

    def tensor(self, values, dtype):
        return StandInTensor(np.asarray(values, dtype), self._wrong, self._ill)


class StandInTensor:
    def __init__(self, values, wrong, ill, device="cpu"):
        self.values, self.wrong, self.ill, self.device = values, wrong, ill, device

    def to(self, device):
        if device == self.ill:
            raise RuntimeError("CUDA error: no kernel image is available")
        return StandInTensor(self.values, self.wrong, self.ill, device)

    def __matmul__(self, other):
        factor = 1.1 if self.device == self.wrong else 1
        return StandInTensor(self.values @ other.values * factor, self.wrong, self.ill)

    def cpu(self):
        return self

    def numpy(self):
        return self.values


def devices_with(monkeypatch, torch):
    monkeypatch.setitem(sys.modules, "torch", torch)
    problems: list[str] = []
    return devices.check_devices("full", problems), problems


def test_this_engine_is_well_and_names_its_processor():
    report = check.self_check(profile="classic")
    assert report["ok"], report["problems"]
    assert report["profile"] == "classic"
    assert [device["id"] for device in report["devices"]] == ["cpu"]
    assert "torch" not in report["packages"]
    json.dumps(report)


def test_the_full_profile_demands_its_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not there
    report = check.self_check(profile="full")
    assert not report["ok"]
    assert any("package torch cannot be loaded" in problem for problem in report["problems"])


def test_a_package_that_fails_oddly_is_told(monkeypatch):
    def fail(module):
        raise OSError(f"{module}: file too short")

    monkeypatch.setattr(check.importlib, "import_module", fail)
    problems: list[str] = []
    assert check._package("cv2", "opencv-python-headless", problems) is None
    assert "file too short" in problems[0]


def test_an_unknown_profile_is_refused():
    with pytest.raises(EngineError, match="no profile huge"):
        check.self_check(profile="huge")


def test_the_installer_says_what_was_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / check.MARKER).write_text('{"profile": "full"}')
    assert check.installed_profile() == "full"
    for text in ("{", "[]", '{"profile": "huge"}'):
        (tmp_path / check.MARKER).write_text(text)
        assert check.installed_profile() in ("classic", "full")


def test_graphics_cards_are_listed_with_their_memory(monkeypatch):
    found, problems = devices_with(monkeypatch, StandInTorch({"Card A": 8_000_000_000, "Card B": 24_000_000_000}))
    assert problems == []
    assert [device["id"] for device in found] == ["cpu", "cuda:0", "cuda:1"]
    assert found[2]["text"] == "cuda:1: Card B, 24.0 GB"
    found, problems = devices_with(monkeypatch, StandInTorch({}, has_mps=True))
    assert found[-1]["id"] == "mps"


def test_a_card_that_miscalculates_is_a_problem(monkeypatch):
    _, problems = devices_with(monkeypatch, StandInTorch({"Card": 1}, wrong="cuda:0"))
    assert len(problems) == 1
    assert "cuda:0 multiplies matrices wrongly" in problems[0]


def test_a_card_that_does_not_answer_is_a_problem(monkeypatch):
    _, problems = devices_with(monkeypatch, StandInTorch({"Old Card": 1}, ill="cuda:0"))
    assert len(problems) == 1
    assert "Old Card" in problems[0]
    assert "no kernel image" in problems[0]


def test_a_processor_that_miscalculates_is_a_problem(monkeypatch):
    _, problems = devices_with(monkeypatch, StandInTorch({}, wrong="cpu"))
    assert any("cpu multiplies" in problem for problem in problems)
