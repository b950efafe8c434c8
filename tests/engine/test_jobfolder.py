"""The job folder: whatever is there is whole, whoever was killed and whatever the disk says."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from test_reconstruction import example

from blender_3r.engine.errors import EngineError
from blender_3r.engine.jobfolder import JobFolder

ROOT = Path(__file__).parents[2]


def view_arrays(value, size=64):
    return {
        "depth": np.full((size, size), value, np.float32),
        "confidence": np.full((size, size), value, np.float32),
        "color": np.full((size, size, 3), value % 256, np.uint8),
    }


def sparse_arrays(count):
    return {
        "points": np.zeros((count, 3), np.float32),
        "color": np.zeros((count, 3), np.uint8),
        "error": np.zeros(count, np.float32),
        "views": np.zeros(count, np.int32),
    }


def leftovers(path):
    return list(path.rglob(".tmp-*"))


def test_what_is_written_is_read(tmp_path):
    job = JobFolder.create(tmp_path / "ein Job ä")
    job.write_json("request", {"method": "classic"})
    job.write_cameras(example())
    job.write_view(12, view_arrays(3))
    job.write_view(2, view_arrays(4))
    job.write_view(12, view_arrays(5))
    job.write_sparse(sparse_arrays(7))
    job.write_npz("tracks", xy=np.ones(3))
    again = JobFolder.open(job.path)
    assert again.read_json("request") == {"method": "classic"}
    assert again.read_cameras().to_json() == example().to_json()
    assert list(again.view_indices()) == [2, 12]
    assert again.has_view(2)
    assert not again.has_view(3)
    arrays = again.read_view(12)
    assert isinstance(arrays["depth"], np.memmap)
    assert arrays["depth"][0, 0] == 5
    assert len(again.read_sparse()["points"]) == 7
    assert again.read_npz("tracks")["xy"].sum() == 3
    assert leftovers(job.path) == []


def test_nothing_there_is_none_and_no_job_is_an_error(tmp_path):
    job = JobFolder.create(tmp_path)
    assert job.read_json("state") is None
    assert job.read_cameras() is None
    assert job.read_sparse() is None
    assert job.read_npz("tracks") is None
    with pytest.raises(EngineError, match="no reconstruction"):
        JobFolder.open(tmp_path)


def test_damaged_files_are_told(tmp_path):
    job = JobFolder.create(tmp_path)
    (tmp_path / "cameras.json").write_text('{"images": [')
    with pytest.raises(EngineError, match=r"cameras\.json cannot be read"):
        job.read_cameras()
    (tmp_path / "cameras.json").write_text('{"images": [{}]}')
    with pytest.raises(EngineError, match=r"cameras\.json"):
        job.read_cameras()
    job.write_view(0, view_arrays(1))
    (tmp_path / "views" / "000000" / "depth.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(EngineError, match="cannot be read"):
        job.read_view(0)
    (tmp_path / "tracks.npz").write_bytes(b"PK\x03\x04 half")
    assert job.read_npz("tracks") is None


def test_clear_results_keeps_the_request_and_the_log(tmp_path):
    job = JobFolder.create(tmp_path)
    job.write_json("request", {})
    (tmp_path / "log.txt").write_text("log")
    job.write_cameras(example())
    job.write_view(0, view_arrays(1))
    job.write_sparse(sparse_arrays(1))
    job.clear_results()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "log.txt", "request.json", "views"]
    assert list(job.view_indices()) == []


WRITER = """
    import itertools, sys
    sys.path[:0] = {paths!r}
    from test_jobfolder import sparse_arrays, view_arrays
    from test_reconstruction import example
    from blender_3r.engine.jobfolder import JobFolder
    job = JobFolder.create({job!r})
    print("ready", flush=True)
    for n in itertools.count():
        job.write_json("state", {{"n": n, "text": "x" * 50_000}})
        job.write_cameras(example())
        job.write_view(n % 5, view_arrays(n, 200))
        job.write_sparse(sparse_arrays(3000))
"""


def test_a_killed_writer_leaves_only_whole_files(tmp_path):
    """kill -9 at any moment, again and again: every file that is there can be read to its end."""
    job_path = tmp_path / "job"
    script = textwrap.dedent(WRITER.format(paths=[str(ROOT), str(Path(__file__).parent)], job=str(job_path)))
    seen_views = set()
    for attempt in range(8):
        writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(0.01 + 0.017 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        job = JobFolder(job_path)
        for name in ("state.json", "cameras.json"):
            if (job_path / name).exists():
                json.loads((job_path / name).read_text())
        for index in job.view_indices():
            arrays = job.read_view(index)
            assert (arrays["depth"] == arrays["depth"][0, 0]).all()
            assert arrays["depth"][0, 0] % 256 == arrays["color"][0, 0, 0]
            seen_views.add(index)
        sparse = job.read_sparse()
        assert sparse is None or {len(array) for array in sparse.values()} == {3000}
    assert seen_views
    JobFolder.create(job_path)  # the next run sweeps what the killed ones left
    assert leftovers(job_path) == []


def writers(job):
    return {
        "json": lambda: job.write_json("state", {"text": "x" * 100_000}),
        "view": lambda: job.write_view(0, view_arrays(9, 300)),
        "sparse": lambda: job.write_sparse(sparse_arrays(9000)),
        "npz": lambda: job.write_npz("tracks", xy=np.ones(100_000)),
    }


@pytest.mark.parametrize("what", ["json", "view", "sparse", "npz"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_refuses_keeps_what_was_there(tmp_path, monkeypatch, what, number):
    job = JobFolder.create(tmp_path)
    job.write_json("state", {"n": 1})
    job.write_view(0, view_arrays(1))
    job.write_sparse(sparse_arrays(1))
    job.write_npz("tracks", xy=np.ones(1))

    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(EngineError, match=os.strerror(number)) as caught:
        writers(job)[what]()
    monkeypatch.undo()
    assert caught.value.kind == "machine"
    assert "Free disk space" in caught.value.hint
    assert job.read_json("state") == {"n": 1}
    assert job.read_view(0)["depth"][0, 0] == 1
    assert len(job.read_sparse()["points"]) == 1
    assert len(job.read_npz("tracks")["xy"]) == 1


FULL = """
    import resource, signal, sys
    sys.path[:0] = {paths!r}
    from test_jobfolder import writers
    from blender_3r.engine.errors import EngineError
    from blender_3r.engine.jobfolder import JobFolder
    job = JobFolder.create({job!r})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    for name, write in writers(job).items():
        try:
            write()
        except EngineError as error:
            print(name, error.kind)
"""


def test_a_write_that_stops_half_way_leaves_nothing(tmp_path):
    job_path = tmp_path / "job"
    script = textwrap.dedent(FULL.format(paths=[str(ROOT), str(Path(__file__).parent)], job=str(job_path)))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:4] == ["json machine", "view machine", "sparse machine", "npz machine"], done.stderr
    assert not any((job_path / name).exists() for name in ("state.json", "sparse", "tracks.npz"))
    assert list(JobFolder(job_path).view_indices()) == []
    JobFolder.create(job_path)
    assert leftovers(job_path) == []


def test_a_place_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError) as caught:
        JobFolder.create(tmp_path / "file" / "job")
    assert caught.value.kind == "machine"
