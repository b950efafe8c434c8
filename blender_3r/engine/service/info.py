"""What a job folder holds, for people and for scripts."""

from __future__ import annotations

import os
from typing import Any

from ..jobfolder import JobFolder
from ..source import Source
from .auto import AUTO, Choice
from .summary import count_points, finite, missing_names, short_count


def job_info(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], list[str]]:
    """Facts as a JSON object, and the same as lines of text. Raises EngineError("input") when there is no job."""
    job = JobFolder.open(folder)
    request, state, cameras = job.read_json("request") or {}, job.read_json("state") or {}, job.read_cameras()
    source = Source.from_json(request["source"]) if isinstance(request.get("source"), dict) else None
    choice = Choice.from_json(request.get(AUTO))
    facts: dict[str, Any] = {
        "job": str(job.path.absolute()),
        "method": request.get("method"),
        AUTO: choice.why if choice else None,
        "settings": request.get("settings"),
        "source": source.to_json() if source else None,
        "status": state.get("status"),
        "stage": state.get("stage"),
        "fraction": state.get("fraction"),
        "error": state.get("error"),
        "summary": state.get("summary"),
        "solved": len(cameras.solved) if cameras else 0,
        "total": len(cameras.views) if cameras else None,
        "reproj_error_px": finite(cameras.reproj_error_px) if cameras else None,
        "dense_views": sum(1 for _ in job.view_indices()),
        "points": count_points(job),
    }
    lines = []
    if source:
        count = f", {len(source.files)} files" if len(source.files) > 1 else ""
        lines.append(f"source   {source.kind} {source.name}{count}")
    chosen = f", chosen by {AUTO} ({choice.why})" if choice else ""
    lines.append(f"method   {facts['method'] or 'unknown'}{chosen}, settings {facts['settings'] or {}}")
    lines.append(f"status   {_status_line(state)}")
    if cameras:
        lines.append(
            f"cameras  {facts['solved']} of {facts['total']} solved, {cameras.motion} motion, {cameras.lens} lens"
        )
        if facts["solved"] < len(cameras.views):
            lines.append(f"missing  {missing_names(cameras)}")
    lines.append(f"points   {short_count(facts['points'])}, from {facts['dense_views']} views")
    return facts, lines


def _status_line(state: dict[str, Any]) -> str:
    status = state.get("status")
    if status == "done":
        return (state.get("summary") or {}).get("text") or "done"
    if status == "running":
        return f"running or interrupted at {state.get('fraction') or 0:.0%} ({state.get('stage')})"
    error = state.get("error") or {}
    return f"{status or 'unknown'}: {error.get('message', '')} {error.get('hint', '')}".strip(" :")
