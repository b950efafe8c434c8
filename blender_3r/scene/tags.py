"""Which datablocks belong to which job: custom properties, never names (users rename, and Blender adds .001).

`threer_job` holds the job folder, `threer_role` what the datablock is in it, `threer_view` the photo it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import bpy

JOB = "threer_job"
ROLE = "threer_role"
VIEW = "threer_view"

_KINDS = ("objects", "collections", "cameras", "meshes", "actions", "movieclips", "images", "node_groups", "materials")


def set_tag(block: bpy.types.ID, job: str, role: str, view: str = "") -> None:
    """Mark block as what role says in that job."""
    block[JOB], block[ROLE], block[VIEW] = job, role, view


def has_tag(block: bpy.types.ID, job: str, role: str, view: str | None = None) -> bool:
    """view None: any view."""
    return (
        block.library is None
        and block.get(JOB) == job
        and block.get(ROLE) == role
        and (view is None or block.get(VIEW) == view)
    )


def find_all(blocks: Iterable[bpy.types.ID], job: str, role: str) -> list[bpy.types.ID]:
    """All of blocks with that job and role."""
    return [block for block in blocks if has_tag(block, job, role)]


def find(blocks: Iterable[bpy.types.ID], job: str, role: str, view: str = "") -> bpy.types.ID | None:
    """The first of blocks with that tag, or None."""
    return next((block for block in blocks if has_tag(block, job, role, view)), None)


def remove_unused(job: str) -> None:
    """Free what a user deleted of this job, so that a new import gets its names (no .001)."""
    for kind in ("objects", "collections", "cameras", "meshes", "movieclips", "actions"):
        while unused := _unused(kind, job):  # a collection frees those inside it
            bpy.data.batch_remove(unused)


def _unused(kind: str, job: str) -> list[bpy.types.ID]:
    blocks = getattr(bpy.data, kind)
    return [block for block in blocks if block.get(JOB) == job and block.library is None and block.users == 0]


@contextmanager
def nothing_left_on_error() -> Iterator[None]:
    """If the body raises, remove every datablock it made."""
    before = {block.session_uid for kind in _KINDS for block in getattr(bpy.data, kind)}
    try:
        yield
    except BaseException:
        bpy.data.batch_remove(
            [block for kind in _KINDS for block in getattr(bpy.data, kind) if block.session_uid not in before]
        )
        raise
