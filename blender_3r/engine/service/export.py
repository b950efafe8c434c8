"""An export as the process does it for Blender; the command line calls export_job itself."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .runner import Report


def run_export(message: dict[str, Any], report: Report) -> dict[str, Any]:
    """Do what an export message asks (engine/protocol.py) and return a summary. Reports "started" and "progress".

    Raises EngineError as export_job, and for a message that is not complete.
    """
    from ..export import FORMATS, ExportOptions, export_job

    format_, out, options = message.get("format"), message.get("out"), message.get("options") or {}
    known = {field.name for field in dataclasses.fields(ExportOptions)}
    if not isinstance(out, str) or not out or not isinstance(options, dict) or not set(options) <= known:
        raise EngineError("usage", "The request to export is not complete.")
    started = time.monotonic()
    report("started", job=message["job"], total=0, resumed=False)
    title = FORMATS[format_].title if format_ in FORMATS else str(format_)
    report("progress", stage=f"Writing {title}", done=0, total=1, fraction=0.1, eta_s=None)
    written = export_job(message["job"], format_, out, **options)
    return {
        "kind": "export",
        "format": format_,
        "path": str(written),
        "seconds": round(time.monotonic() - started, 1),
        "warnings": [],
        "text": f"{title} written to {Path(written).name}.",
    }
