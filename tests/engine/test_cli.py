"""The command line: results on standard output, progress on standard error, exit status for scripts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import engine_command, fake_environment, write_images

ROOT = Path(__file__).parents[2]


def test_reconstruct_info_and_again(engine, movie, tmp_path):
    job = tmp_path / "ein Job"
    done = engine("reconstruct", movie, "--method", "fake", "--out", job, how={"print": True})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("All 12 frames solved, mean error 0.42 px")
    assert "chatter" not in done.stdout + done.stderr
    assert "chatter of a library" in (job / "log.txt").read_text()
    assert "Computing depth" in done.stderr
    assert "12 of 12 cameras solved" in done.stderr

    again = engine("reconstruct", movie, "--method", "fake", "--out", job, "--json")
    assert again.returncode == 0
    summary = json.loads(again.stdout)
    assert (summary["status"], summary["solved"], summary["job"]) == ("done", 12, str(job))

    info = engine("info", job)
    assert info.returncode == 0
    assert "12 of 12 solved" in info.stdout
    facts = json.loads(engine("info", job, "--json").stdout)
    assert (facts["status"], facts["solved"], facts["dense_views"]) == ("done", 12, 12)


def test_options_reach_the_request(engine, movie, tmp_path):
    options = (
        "--first 2 --last 10 --step 2 --focal 900.5 --lens zoom --quality fine --no-dense --points 5000 --threads 2 "
        "--center fixed --distortion k1k2"
    )
    done = engine("reconstruct", movie, "--method", "fake", "--out", tmp_path / "job", *options.split())
    assert done.returncode == 0, done.stderr
    request = json.loads((tmp_path / "job" / "request.json").read_text())
    assert request["settings"] == {
        "quality": "fine",
        "lens": "zoom",
        "focal_px": 900.5,
        "dense": False,
        "points": 5000,
        "threads": 2,
        "center": "fixed",
        "distortion": "k1k2",
    }
    cameras = json.loads((tmp_path / "job" / "cameras.json").read_text())
    assert [image["frame"] for image in cameras["images"]] == [2, 4, 6, 8, 10]
    assert cameras["images"][0]["file"] == "frame_0002"


def test_kind_overrides_what_the_names_say(engine, tmp_path):
    write_images(tmp_path / "photos", [f"{n:03d}.png" for n in (1, 2, 5)])
    command = ("reconstruct", tmp_path / "photos", "--method", "fake", "--no-dense", "--out", tmp_path / "job")
    assert engine(*command).stdout.startswith("All 3 photos")
    done = engine(*command, "--kind", "sequence")
    assert done.stdout.startswith("All 3 frames")
    assert "Note: 2 frames are missing between 1 and 5" in done.stdout


def failing(engine, *arguments, how=None):
    done = engine(*arguments, how=how)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def test_exit_status_per_kind_of_failure(engine, movie, tmp_path):
    (tmp_path / "text.mp4").write_text("no movie")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    reconstruct = ("reconstruct", movie, "--method", "fake", "--out", tmp_path / "job")
    cases = [
        (2, ("reconstruct", movie), None, "--out"),
        (2, ("reconstruct", movie, "--out", tmp_path / "job", "--method", "magic"), None, "no method"),
        (2, (*reconstruct, "--focal", "-5"), None, "focal_px"),
        (2, ("dance",), None, "invalid choice"),
        (3, ("reconstruct", tmp_path / "gone.mp4", "--out", tmp_path / "job"), None, "does not exist"),
        (3, ("reconstruct", tmp_path / "empty", "--out", tmp_path / "job"), None, "no images or movies"),
        (3, ("reconstruct", tmp_path / "text.mp4", "--method", "fake", "--out", tmp_path / "j2"), None, "as a movie"),
        (3, ("info", tmp_path / "empty"), None, "no reconstruction"),
        (3, ("export", tmp_path / "empty", "--format", "ply", "--out", tmp_path / "x"), None, "no reconstruction"),
        (4, reconstruct, {"raise": "unsolved"}, "do not overlap"),
        (5, reconstruct, {"raise": "memory"}, "out of memory"),
        (5, ("reconstruct", movie, "--method", "fake", "--out", tmp_path / "file" / "job"), None, "Cannot write"),
        (1, reconstruct, {"raise": "bug"}, "log file"),
    ]
    for status, arguments, how, says in cases:
        done = failing(engine, *arguments, how=how)
        assert (done.returncode, says in done.stderr) == (status, True), (arguments, done.stderr)


def test_failures_as_json_and_with_debug(engine, movie, tmp_path):
    command = ("reconstruct", movie, "--method", "fake", "--out", tmp_path / "job", "--json")
    done = failing(engine, *command, how={"raise": "unsolved"})
    assert json.loads(done.stdout) == {
        "status": "failed",
        "kind": "unsolved",
        "message": "The images do not overlap.",
        "hint": "Take more photos.",
    }
    assert "a wire is loose" in engine(*command, "--debug", how={"raise": "bug"}).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_cancels_and_the_same_command_goes_on(engine, movie, tmp_path):
    arguments = ("reconstruct", movie, "--method", "fake", "--out", tmp_path / "job", "--json")
    process = subprocess.Popen(
        engine_command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=fake_environment({"sleep": 0.25}),
    )
    while "Computing depth" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["status"] == "cancelled"
    assert "What was computed is kept" in error
    assert json.loads((tmp_path / "job" / "state.json").read_text())["status"] == "cancelled"
    assert engine(*arguments).returncode == 0
    assert "goes on" in (tmp_path / "job" / "log.txt").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_second_ctrl_c_does_not_wait(movie, tmp_path):
    process = subprocess.Popen(
        engine_command("reconstruct", movie, "--method", "fake", "--out", tmp_path / "job"),
        stderr=subprocess.PIPE,
        text=True,
        env=fake_environment({"sleep": 600}),
    )
    while "cameras solved" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    while "once more" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    process.stderr.close()


def test_help_documents_the_exit_status(engine):
    for arguments in (("--help",), ("reconstruct", "--help"), ("export", "--help")):
        text = engine(*arguments).stdout
        assert "exit status" in text
        assert "130" in text
    assert "colmap" in engine("export", "--help").stdout


def test_the_folder_runs_as_a_program_from_anywhere(tmp_path):
    """As in an installed extension: isolated, from another folder, under another parent's name."""
    (tmp_path / "extensions").mkdir()
    installed = tmp_path / "extensions" / "renamed"
    installed.symlink_to(ROOT / "blender_3r")
    done = subprocess.run(
        [sys.executable, "-I", str(installed / "engine"), "check", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        timeout=60,
    )
    report = json.loads(done.stdout)
    assert report["packages"]["opencv-python-headless"]
    assert done.returncode == (0 if report["ok"] else 5)
    as_module = subprocess.run(
        [sys.executable, "-m", "blender_3r.engine", "--version"], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert as_module.returncode == 0
    assert "blender_3r engine" in as_module.stdout


def test_check_names_what_is_wrong(engine, tmp_path):
    (tmp_path / "file").write_text("")
    done = engine("check", tmp_path / "file")
    assert done.returncode == 5
    assert "Nothing can be written to" in done.stdout
