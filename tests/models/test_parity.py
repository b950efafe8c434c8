"""Our networks and procedures against stored results of the published ones: every folder of tests/data/parity."""

from pathlib import Path

import pytest

from tests.parity.checkers import check_folder

DATA = Path(__file__).resolve().parents[1] / "data" / "parity"
FOLDERS = sorted({path.parent for path in DATA.rglob("*") if path.suffix in (".json", ".safetensors", ".gz")})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(DATA)))
def test_every_quantity_is_within_its_tolerance(folder):
    report = check_folder(folder)
    results = list(report.results())
    assert results, "no check knows this folder"
    assert [result.line() for result in results if not result.passed] == []
    assert report.skipped() == [], "files that no check reads"
