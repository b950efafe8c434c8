"""What the installer is made of: pip's configuration for uv, progress from output, damage in packages."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from blender_3r.client import doctor, indexes
from blender_3r.client.downloads import UNPACKED, Downloads
from blender_3r.client.reasons import explain, is_network
from blender_3r.client.work import Failed

PIP = """:env:.find-links='/opt/wheels'
:env:.timeout='60'
global.extra-index-url='https://a/simple\\nhttps://b/simple'
global.find-links='/other'
global.index-url='https://user:word@firm/simple'
global.proxy='proxy.firm:3128'
global.trusted-host='firm  other'
install.index-url='https://install/simple'
download.index-url='https://download/simple'
no equals sign
global.odd=unquoted text
"""


def test_pips_configuration_is_read_in_pips_own_order():
    found = indexes.parse_pip_config(PIP)
    assert found["index-url"] == "https://install/simple"
    assert found["find-links"] == "/opt/wheels"
    assert "odd" not in found


def test_uv_is_told_what_pip_knows():
    told = indexes.uv_settings(indexes.parse_pip_config(PIP), {}, [])
    assert told == {
        "UV_DEFAULT_INDEX": "https://install/simple",
        "UV_EXTRA_INDEX_URL": "https://a/simple https://b/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/opt/wheels",
        "UV_INSECURE_HOST": "firm other",
        "UV_HTTP_TIMEOUT": "60",
        "HTTP_PROXY": "http://proxy.firm:3128",
        "HTTPS_PROXY": "http://proxy.firm:3128",
    }
    assert indexes.uv_settings({}, {}, []) == {}
    assert indexes.uv_settings({"find-links": "", "index-url": " "}, {}, []) == {}


def test_what_uv_was_told_itself_goes_before(tmp_path):
    pip = indexes.parse_pip_config(PIP)
    told = indexes.uv_settings(pip, {"UV_INDEX_URL": "https://uv/simple", "https_proxy": "http://p"}, [])
    assert "UV_DEFAULT_INDEX" not in told
    assert "HTTPS_PROXY" not in told
    assert "UV_FIND_LINKS" in told
    file = tmp_path / "uv.toml"
    file.write_text('[pip]\nfind-links = ["/mine"]\n[[index]]\nurl = "https://uv/simple"\n')
    told = indexes.uv_settings(pip, {}, [tmp_path / "none.toml", file])
    assert not {"UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"} & set(told)


def test_indexes_without_encryption_are_named_without_their_passwords():
    pip = {"index-url": "http://user:word@firm.example:8080/simple", "extra-index-url": "https://a/simple\nhttp://b/s"}
    assert indexes.plain_hosts(pip, {}) == ["b", "firm.example"]
    assert indexes.plain_hosts({}, {"UV_INDEX": "firm=http://c/simple https://d"}) == ["c"]
    here = {"index-url": "http://127.0.0.1:9/simple", "extra-index-url": "http://localhost/s http://[::1]/s"}
    assert indexes.plain_hosts(here, {"UV_INDEX_URL": "file:///opt/simple"}) == []
    assert indexes.plain_hosts(indexes.parse_pip_config(PIP), {}) == []


def test_progress_from_uvs_words():
    downloads = Downloads({"numpy": 10_000_000, "pycolmap": 30_000_000, "small": 1000}, ("numpy", "pycolmap", "small"))
    assert downloads.step == "Asking for packages"
    assert downloads.progress() == (0, 40_001_000)
    downloads.follow("Downloading pycolmap (28.6MiB)")
    downloads.follow("Downloading numpy (9.5MiB)")
    assert downloads.step == "Downloading pycolmap (30.0 MB)"
    downloads.grown_bytes = int(8_000_000 * UNPACKED)
    assert downloads.progress()[0] == pytest.approx(8_000_000, abs=1)
    downloads.follow(" Downloaded numpy")
    assert downloads.progress()[0] == 10_000_000
    downloads.grown_bytes = int(200_000_000 * UNPACKED)  # what is on disk never makes it more than was asked for
    assert 30_000_000 < downloads.progress()[0] < 40_000_000
    downloads.follow("Prepared 3 packages in 2.0s")
    assert downloads.progress() == (40_001_000, 40_001_000)
    assert downloads.step == "Unpacking packages"
    assert downloads.fraction == 1


def test_progress_from_pips_words():
    downloads = Downloads({}, ("numpy", "opencv-python-headless"))
    assert downloads.progress() == (0, 0)
    downloads.follow("  Downloading numpy-2.4.6-cp312-cp312-linux_x86_64.whl (16.9 MB)")
    downloads.follow("  Downloading opencv_python_headless-4.14.0.94-cp37-abi3-linux_x86_64.whl (57 kB)")
    assert downloads.step == "Downloading opencv-python-headless (0.1 MB)"
    assert downloads.progress()[0] == 16_900_000
    downloads.follow("Installing collected packages: numpy, opencv-python-headless")
    assert downloads.fraction == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("error: Failed to fetch: https://x\n cause: client error (Connect)\n cause: dns error", "does not answer"),
        ("SSLError(SSLCertVerificationError: certificate verify failed: self-signed certificate)", "not trusted"),
        ("  cause: invalid peer certificate: UnknownIssuer", "not trusted"),
        ("  cause: HTTP status client error (401 Unauthorized) for url", "refuses access"),
        ("error: failed to write: No space left on device (os error 28)", "disk is full"),
        ("  cause: Hash mismatch for `numpy==2.4.6`", "its hash is another"),
        ("error: failed to remove file: The process cannot access the file (os error 32)", "in use"),
        ("error: failed to create directory: Permission denied (os error 13)", "cannot be written"),
    ],
)
def test_causes_in_words(line, message):
    failure = explain(Failed("It failed.", "", line.splitlines()), "3.12")
    assert message in failure.message
    assert failure.hint.endswith(".")
    assert failure.is_final


def test_an_unknown_cause_is_told_as_it_is():
    failure = Failed("It failed: so it is.", "", ["so it is"])
    assert explain(failure, "3.12") is failure
    assert not failure.is_final
    assert not is_network(failure.lines)


# -- damage


@pytest.fixture
def site(tmp_path) -> Path:
    """Two packages as an installer writes them."""
    for name in ("one", "two_parts"):
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text(f"name = '{name}'\n")
        info = tmp_path / f"{name}-1.0+cpu.dist-info"
        info.mkdir()
        data = (package / "__init__.py").read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        (info / "RECORD").write_text(
            f"{name}/__init__.py,sha256={digest},{len(data)}\n{name}/old.pyc,,\n{info.name}/RECORD,,\n"
        )
    return tmp_path


def test_what_is_whole_is_not_damaged(site):
    assert doctor.damaged_packages(site, {"one": "1.0", "two-parts": "1.0+cpu"}) == {}


def test_damage_is_named(site):
    wanted = {"one": "1.0", "two-parts": "1.0"}
    assert doctor.damaged_packages(site, {"one": "2.0"}) == {"one": "it is 1.0+cpu, not 2.0"}
    assert doctor.damaged_packages(site, {"three": "1.0"}) == {"three": "it is not there"}
    assert doctor.damaged_packages(None, wanted).keys() == wanted.keys()
    file = site / "one" / "__init__.py"
    text = file.read_text()
    file.write_text(text[:-3])
    assert "bytes, not" in doctor.damaged_packages(site, wanted)["one"]
    file.write_text(text.replace("one", "eno"))
    assert "was changed" in doctor.damaged_packages(site, wanted)["one"]
    file.unlink()
    assert doctor.damaged_packages(site, wanted) == {"one": "one/__init__.py is missing"}
    next(site.glob("two*/RECORD")).write_text("")
    assert "empty" in doctor.damaged_packages(site, wanted)["two-parts"]
