"""The method "auto": sources, licences, memory and downloads to a method and a sentence; jobs that use it."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import write_images

from blender_3r.engine import zoo
from blender_3r.engine.errors import EngineError
from blender_3r.engine.service import auto, choosing, runner, stock
from blender_3r.engine.service.auto import Choice, Footage, Known, Machine, Weights, choose, resolved
from blender_3r.engine.service.info import job_info
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.service.stock import choose_here, list_weights
from blender_3r.engine.source import source_from_path

GB = 1_000_000_000
PARTS = (
    ("dust3r-512-dpt", "DUSt3R 512", "pairwise", "dust3r", False, 3.0, 2.3),
    ("fast3r-512", "Fast3R 512", "multiview", "fast3r", False, 3.6, 2.6),
    ("mast3r-512", "MASt3R 512", "pairwise", "mast3r", False, 3.3, 2.8),
    ("mast3r-retrieval", "MASt3R retrieval", "pairwise", "retrieval", False, 0.3, 0.3),
    ("pi3x", "Pi3X", "multiview", "pi3x", False, 6.5, 5.4),
    ("spann3r-224", "Spann3R 224", "streaming", "spann3r", False, 3.6, 2.6),
    ("vggt-1b", "VGGT 1B", "multiview", "vggt", False, 6.0, 5.0),
    ("vggt-1b-commercial", "VGGT 1B commercial", "multiview", "vggt", True, 6.0, 0.0),
    ("wint3r-512", "WinT3R 512", "streaming", "wint3r", False, 4.5, 3.0),
)
ALL = tuple(part[0] for part in PARTS)


def catalogue(*here):
    return [
        Weights(id_, title, method, architecture, use, id_ in here, int(memory * GB), int(size * GB))
        for id_, title, method, architecture, use, memory, size in PARTS
    ]


def pick(kind, count, here=(), device="cpu", free=24.0, known=None, **more):
    """A choice with the weights of `here` downloaded and free GB of memory (None: not told)."""
    machine = Machine(device, None if free is None else int(free * GB))
    return choose(Footage(kind, count), catalogue(*here), lambda: machine, known or Known(), **more)


def unasked():
    raise AssertionError("the machine was asked, which loads PyTorch")


LENS, POSES = Known(lens=True), Known(poses=True)
CASES = [
    # footage: Classic, whatever lies there
    ("movie", 40, (), {}, "classic", "", "Classic: 40 frames of footage, and it needs no weights."),
    ("sequence", 8, ALL, {}, "classic", "", "Classic: 8 frames of footage, and it needs no weights."),
    ("movie", 999, ALL, {"device": "cuda"}, "classic", "", "and it needs no weights."),
    ("photos", 8, ALL, {}, "classic", "", "Classic: 8 photos, and it needs no weights."),
    ("photos", 900, ALL, {"device": "cuda"}, "classic", "", "Classic: 900 photos"),
    ("rig", 12, ALL, {}, "classic", "", "Classic: 12 cameras"),
    # long footage: a network on a graphics card only
    ("movie", 1000, ALL, {"device": "cuda"}, "streaming", "wint3r-512", "are more than Classic was measured with."),
    (
        "movie",
        1000,
        ("spann3r-224",),
        {"device": "mps"},
        "streaming",
        "spann3r-224",
        "with Spann3R 224 (no commercial use): 1000",
    ),
    ("movie", 1000, ALL, {"device": "cpu"}, "classic", "", "Classic: 1000 frames"),
    ("movie", 1000, ("mast3r-512",), {"device": "cuda"}, "classic", "", "Classic: 1000 frames"),
    ("movie", 1000, ALL, {"device": "cuda", "free": 3.0}, "classic", "", "Classic: 1000 frames"),
    ("movie", 1000, ALL, {"device": "cuda", "commercial_only": True}, "classic", "", "Classic: 1000 frames"),
    ("movie", 1000, ALL, {"has_torch": False}, "classic", "", "Classic: 1000 frames"),
    # few pictures: a network where one is at hand
    (
        "photos",
        2,
        ALL,
        {},
        "pairwise",
        "mast3r-512",
        "MASt3R 512 (no commercial use): 2 photos are too few to measure the lens by.",
    ),
    ("photos", 7, ("vggt-1b",), {}, "multiview", "vggt-1b", "Multi-View with VGGT 1B (no commercial use): 7 photos"),
    ("movie", 3, ("vggt-1b",), {}, "multiview", "vggt-1b", "3 frames of footage"),
    ("rig", 4, ("mast3r-512",), {"free": None}, "pairwise", "mast3r-512", "4 cameras"),
    ("photos", 5, ("vggt-1b", "fast3r-512"), {"free": 4.0}, "multiview", "fast3r-512", "Fast3R 512"),
    ("photos", 5, ("wint3r-512", "mast3r-retrieval"), {}, "classic", "", "no network for them is downloaded."),
    ("photos", 2, ALL, {"known": LENS}, "classic", "", "Classic: 2 photos whose lens is known"),
    ("photos", 2, ALL, {"commercial_only": True}, "multiview", "vggt-1b-commercial", "VGGT 1B commercial: 2 photos"),
    ("photos", 5, ("mast3r-512",), {"free": 2.0}, "classic", "", "the networks on this machine need more memory."),
    ("photos", 5, ALL, {"has_torch": False}, "classic", "", "but this engine runs no networks."),
    ("photos", 3, ALL, {"known": Known(learned_tracks=True)}, "multiview", "vggt-1b", "3 photos are too few"),
    (
        "photos",
        3,
        ("mast3r-512",),
        {"known": Known(learned_tracks=True)},
        "classic",
        "",
        "no network for them is downloaded.",
    ),
    # one image: nothing but a network
    ("photos", 1, ALL, {}, "multiview", "pi3x", "Multi-View with Pi3X (no commercial use): one image takes a network."),
    ("movie", 1, ("mast3r-512", "dust3r-512-dpt"), {}, "pairwise", "mast3r-512", "one image"),
    ("photos", 1, ALL, {"free": 4.0}, "pairwise", "mast3r-512", "one image"),
    ("photos", 1, ("vggt-1b-commercial",), {"commercial_only": True}, "multiview", "vggt-1b-commercial", "one image"),
    ("photos", 1, ("spann3r-224",), {}, "", "", "and none is downloaded."),
    ("photos", 1, ("mast3r-512",), {"commercial_only": True}, "", "", "and none is downloaded."),
    ("photos", 1, ("mast3r-512",), {"free": 2.0}, "", "", "those on this machine need more than 2.0 GB of memory."),
    ("photos", 1, ALL, {"has_torch": False}, "", "", "this engine has no PyTorch."),
    # known poses: what takes them
    ("movie", 40, ALL, {"known": POSES}, "classic", "", "solved from the known poses."),
    ("photos", 40, ALL, {"known": POSES}, "multiview", "pi3x", "with known poses, which it takes."),
    ("photos", 40, ("mast3r-512",), {"known": POSES}, "pairwise", "mast3r-512", "with known poses, which it takes."),
    ("photos", 40, ("vggt-1b",), {"known": POSES}, "classic", "", "solved from the known poses."),
    ("photos", 1, ("vggt-1b",), {"known": POSES}, "multiview", "vggt-1b", "one image"),
    # a model that is asked for: its method, here or not
    (
        "movie",
        40,
        (),
        {"known": Known(model="vggt-1b")},
        "multiview",
        "vggt-1b",
        "VGGT 1B (no commercial use): this model was asked for.",
    ),
    ("movie", 40, (), {"known": Known(model="magic")}, "pairwise", "magic", "the model magic was asked for."),
    ("movie", 40, (), {"known": Known(file=True)}, "pairwise", "", "a checkpoint was asked for."),
]


@pytest.mark.parametrize(("kind", "count", "here", "more", "method", "model", "says"), CASES)
def test_choices(kind, count, here, more, method, model, says):
    choice = pick(kind, count, here, **more)
    assert (choice.method, choice.model) == (method, model)
    assert says in choice.why
    assert choice.why.endswith(".")
    assert bool(choice.hint) == (not method)
    assert Choice.from_json(json.loads(json.dumps(choice.to_json()))) == choice


@pytest.mark.parametrize(
    ("kind", "count", "here", "more", "suggested"),
    [
        ("photos", 1, (), {}, "mast3r-512"),
        ("photos", 1, (), {"free": 3.1}, "dust3r-512-dpt"),
        ("photos", 1, (), {"free": 1.0}, ""),
        ("photos", 1, (), {"commercial_only": True}, "vggt-1b-commercial"),
        ("photos", 3, (), {}, "mast3r-512"),
        ("photos", 3, ("wint3r-512",), {"commercial_only": True}, "vggt-1b-commercial"),
        ("photos", 40, (), {"known": POSES}, "mast3r-512"),
        ("movie", 40, (), {}, ""),
        ("photos", 3, ALL, {}, ""),
    ],
)
def test_what_would_help_is_named(kind, count, here, more, suggested):
    choice = pick(kind, count, here, **more)
    assert choice.suggested == suggested
    if not choice.method:
        assert ("Download" in choice.hint) == bool(suggested)


def test_the_hint_tells_size_and_licence():
    assert pick("photos", 1).hint == "Download MASt3R 512 (2.8 GB, no commercial use), or pick more pictures."
    allowed = pick("photos", 1, commercial_only=True)
    assert allowed.hint == "Download VGGT 1B commercial (commercial use allowed), or pick more pictures."


def test_nothing_that_the_licence_rule_allows():
    choice = choose(Footage("photos", 1), catalogue(*ALL)[:5], lambda: Machine(), commercial_only=True)
    assert choice.method == ""
    assert "no model for it allows commercial use." in choice.why
    assert choose(Footage("photos", 1), [], Machine).hint == "Pick more pictures."


def test_an_engine_without_pytorch_is_named():
    assert pick("photos", 1, ALL, has_torch=False).needs_engine
    assert not pick("photos", 1).needs_engine


def test_footage_does_not_load_pytorch():
    for kind, count in (("movie", 40), ("photos", 30), ("movie", 5000)):
        assert choose(Footage(kind, count), catalogue(), unasked).method == "classic"
    assert choose(Footage("photos", 2), catalogue(*ALL), unasked, LENS).method == "classic"
    assert choose(Footage("movie", 40), catalogue(*ALL), unasked, Known(model="vggt-1b")).method == "multiview"


def test_what_may_do_where_classic_does_not():
    assert auto.after_classic(catalogue("wint3r-512", "mast3r-512")).startswith("MASt3R 512 may do")
    assert auto.after_classic(catalogue("wint3r-512")).endswith("choose the method Streaming.")
    assert auto.after_classic(catalogue()) == ""
    assert auto.after_classic(catalogue(*ALL), has_torch=False) == ""
    assert auto.after_classic(catalogue("mast3r-512"), commercial_only=True) == ""


@pytest.mark.parametrize("data", [None, 3, {}, {"method": 1}, {"method": "classic", "why": 2}])
def test_what_is_no_choice(data):
    assert Choice.from_json(data) is None


def test_what_the_request_says():
    assert Known.from_settings({}) == Known()
    assert Known.from_settings({"focal_px": 800.0, "model": "x"}) == Known("x", lens=True)
    assert Known.from_settings({"intrinsics": "/x", "poses": "/y", "weights": "/z"}) == Known("", True, True, True)
    assert Known.from_settings({"learned_tracks": True}).learned_tracks


# -- this machine


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """This machine has no weights but those of records named by have(...), and PyTorch if told so."""
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("BLENDER_3R_COMMERCIAL_ONLY", raising=False)
    monkeypatch.delenv("BLENDER_3R_RECORDS", raising=False)
    there = set()
    monkeypatch.setattr(zoo, "is_downloaded", lambda record: record.id in there)

    def have(*ids, torch=True):
        there.update(ids)
        monkeypatch.setattr(stock, "_has_torch", lambda: torch)
        monkeypatch.setattr(stock, "network_device", lambda name: "cpu" if name == "auto" else name)
        monkeypatch.setattr(stock, "free_memory", lambda device: {"cpu": 20 * GB, "cuda": 4 * GB}[device])

    return have


def test_the_zoo_of_this_machine(weights):
    weights("mast3r-512")
    listed = {one.id: one for one in list_weights()}
    assert listed["mast3r-512"].downloaded
    assert not listed["dust3r-512-dpt"].downloaded
    assert not any("croco" in id_ for id_ in listed), "no method runs it by itself"
    source = source_of(2)
    assert choose_here(source, 2, {}).model == "mast3r-512"
    assert choose_here(source, 2, {"memory_gb": 2.0}).method == "classic"
    assert choose_here(source, 2, {"device": "cuda"}).model == "mast3r-512", "17/20 of 4 GB hold it"
    assert choose_here(source, 2, {"focal_px": 900.0}).method == "classic"


def test_the_rule_on_commercial_use_of_this_machine(weights, monkeypatch):
    weights("mast3r-512")
    monkeypatch.setenv("BLENDER_3R_COMMERCIAL_ONLY", "1")
    assert choose_here(source_of(2), 2, {}).method == "classic"


def source_of(count):
    from blender_3r.engine.source import Source

    return Source("photos", tuple(f"/x/{number}.png" for number in range(count)))


def test_choosing_needs_no_pytorch():
    """What the panel asks at every change of a setting must not wait for it."""
    import subprocess

    program = "import sys; from blender_3r.engine.service import stock; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


# -- requests and jobs


def test_a_choice_makes_a_request():
    request = {"method": "auto", "settings": {"quality": "draft"}}
    made = resolved(request, Choice("pairwise", "mast3r-512", "Pairwise: why."))
    assert made["method"] == "pairwise"
    assert made["settings"] == {"quality": "draft", "model": "mast3r-512"}
    assert made["auto"]["why"] == "Pairwise: why."
    assert request == {"method": "auto", "settings": {"quality": "draft"}}
    refined = {"refine": True, "depth_prior": "model"}
    for choice, kept in ((Choice("classic"), {}), (Choice("streaming", "wint3r-512"), refined)):
        made = resolved({"method": "auto", "settings": refined}, choice)["settings"]
        assert {name: value for name, value in made.items() if name != "model"} == kept
    with pytest.raises(EngineError, match="Only a network") as caught:
        resolved(request, pick("photos", 1))
    assert caught.value.kind == "machine"
    assert caught.value.hint.endswith("On the command line: models download mast3r-512 --accept-licence")


@pytest.fixture
def job(tmp_path, fake_method, monkeypatch):
    """job(path, ...) runs a request with the method "auto"; whatever is chosen is the fake method, under its name."""
    from blender_3r.engine import methods

    monkeypatch.setitem(methods.METHODS, "classic", "fake_method")
    reports = []

    def start(path, **settings):
        reports.clear()
        request = make_request("auto", source_from_path(path), settings)
        return runner.run_job(request, tmp_path / "job", lambda type_, **fields: reports.append((type_, fields)))

    start.reports = lambda type_: [fields for name, fields in reports if name == type_]
    start.behave = fake_method
    start.read = lambda name: json.loads((tmp_path / "job" / f"{name}.json").read_text())
    start.log = lambda: (tmp_path / "job" / "log.txt").read_text()
    return start


def test_a_job_chooses_classic_and_says_so(job, movie, tmp_path, weights):
    weights()
    summary = job(movie)
    why = "Classic: 12 frames of footage, and it needs no weights."
    assert job.reports("chosen") == [{"method": "classic", "model": "", "why": why}]
    assert summary["choice"]["why"] == why
    request = job.read("request")
    assert (request["method"], request["auto"]["method"]) == ("classic", "classic")
    assert why in job.log()
    facts, lines = job_info(tmp_path / "job")
    assert facts["auto"] == why
    assert f"method   classic, chosen by auto ({why}), settings {{}}" in lines


def test_the_choice_is_kept_when_the_job_goes_on(job, tmp_path, weights, fake_method):
    """Weights that come meanwhile make no new job of a cancelled one, but of one that led to nothing."""
    photos = write_images(tmp_path / "photos", ["a.png", "b.png"])[0].parent
    weights()
    job.behave(**{"raise": "os"})
    with pytest.raises(EngineError):
        job(photos)
    weights("mast3r-512")
    job.behave()
    summary = job(photos)
    assert summary["choice"]["method"] == "classic"
    assert job.reports("started")[0]["resumed"]
    assert job(photos) == summary
    assert job.reports("chosen")[0]["method"] == "classic"


def test_a_job_that_led_to_nothing_chooses_anew(job, tmp_path, weights, monkeypatch):
    from blender_3r.engine import methods

    photos = write_images(tmp_path / "photos", ["a.png", "b.png"])[0].parent
    weights(torch=False)
    job.behave(early="unsolved")
    with pytest.raises(EngineError, match="do not overlap"):
        job(photos)
    assert job.read("request")["method"] == "classic"
    weights("mast3r-512")
    monkeypatch.setitem(methods.METHODS, "pairwise", "fake_method")
    job.behave()
    assert job(photos)["choice"]["model"] == "mast3r-512"
    assert not job.reports("started")[0]["resumed"]


def test_a_job_of_the_same_method_goes_on(job, movie, tmp_path, weights):
    """Classic was asked for by name, and now it is what "auto" chooses: nothing is computed again."""
    weights()
    job.behave(runs=str(tmp_path / "runs"))
    request = make_request("classic", source_from_path(movie), {})
    first = runner.run_job(request, tmp_path / "job", lambda *a, **k: None)
    assert job(movie) == first
    assert (tmp_path / "runs").read_text() == "run\n"


def test_what_else_could_be_tried_is_told(job, movie, weights):
    weights("mast3r-512")
    job.behave(early="unsolved")
    with pytest.raises(EngineError, match="do not overlap") as caught:
        job(movie)
    assert caught.value.hint == (
        "Take more photos. MASt3R 512, metric may do where there is little texture: choose the method Pairwise."
    )


@pytest.fixture
def network(monkeypatch):
    """The pairwise method is a module that fails as told, at a fraction of the job."""
    from types import SimpleNamespace

    from blender_3r.engine import methods
    from blender_3r.engine.methods.base import Progress

    state = SimpleNamespace(error=EngineError("machine", "The weights are damaged.", "Get them again."), at=0.05)

    def run(frames, settings, context):
        yield Progress("Predicting pairs", 0, 1, state.at)
        raise state.error

    monkeypatch.setitem(sys.modules, "failing_network", SimpleNamespace(run=run))
    monkeypatch.setitem(methods.METHODS, "pairwise", "failing_network")
    return state


def test_a_network_that_cannot_begin_is_replaced_and_that_is_said(job, network, tmp_path, weights):
    photos = write_images(tmp_path / "photos", ["a.png", "b.png"])[0].parent
    weights("mast3r-512")
    summary = job(photos)
    assert [one["method"] for one in job.reports("chosen")] == ["pairwise", "classic"]
    why = "Classic: MASt3R 512, metric could not be used. The weights are damaged."
    assert summary["choice"]["why"] == why
    told = "MASt3R 512, metric could not be used, so Classic did it. The weights are damaged. Get them again."
    assert told in summary["warnings"]
    assert job.read("request")["method"] == "classic"
    assert "model" not in job.read("request")["settings"]
    assert told.partition(",")[0] in job.log()


@pytest.mark.parametrize(
    ("change", "settings", "count"),
    [
        ({"at": 0.5}, {}, 2),
        ({"error": EngineError("unsolved", "Nothing matches.")}, {}, 2),
        ({}, {"model": "mast3r-512"}, 2),
        ({}, {}, 1),
    ],
)
def test_where_nothing_is_replaced(job, network, tmp_path, weights, change, settings, count):
    """Much was computed; the pictures are to blame; this model was asked for; classic cannot do it."""
    photos = write_images(tmp_path / "photos", ["a.png", "b.png"][:count])[0].parent
    weights("mast3r-512")
    vars(network).update(change)
    with pytest.raises(EngineError) as caught:
        job(photos, **settings)
    assert caught.value.message == network.error.message
    assert [one["method"] for one in job.reports("chosen")] == ["pairwise"]


def test_one_image_without_weights_ends_in_a_sentence(job, tmp_path, weights):
    photo = write_images(tmp_path / "photos", ["a.png"])[0]
    weights()
    with pytest.raises(EngineError, match="depth of one image, and none is downloaded") as caught:
        job(photo)
    assert "Download MASt3R 512" in caught.value.hint
    assert job.read("state")["status"] == "failed"
    assert choosing.BEGUN < 0.5
