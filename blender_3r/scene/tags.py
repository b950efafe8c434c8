"""Which datablocks belong to which job: custom properties, never names (users rename, and Blender adds .001).

`threer_job` holds the job folder, `threer_role` what the datablock is in it, `threer_view` the photo it belongs to.
`threer_run` marks the root of a job that is still growing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import bpy

JOB = "threer_job"
ROLE = "threer_role"
VIEW = "threer_view"
RUN = "threer_run"

_KINDS = (
    *("objects", "collections", "cameras", "meshes", "pointclouds", "actions"),
    *("movieclips", "images", "node_groups", "materials"),
)


def set_tag(block: bpy.types.ID, job: str, role: str, view: str = "") -> None:
    """Mark block as what role says in that job."""
    block[JOB], block[ROLE], block[VIEW] = job, role, view


def clear(block: bpy.types.ID) -> None:
    """Take the tags of a copy away."""
    for name in (JOB, ROLE, VIEW):
        block.pop(name, None)


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


def objects_of(scene: bpy.types.Scene, job: str) -> dict[tuple[str, str], bpy.types.Object]:
    """The job's objects in scene by (role, view); of duplicates the first."""
    found: dict[tuple[str, str], bpy.types.Object] = {}
    for item in scene.objects:
        if item.get(JOB) == job and item.library is None:
            found.setdefault((item.get(ROLE, ""), item.get(VIEW, "")), item)
    return found


def remove_unused(job: str) -> None:
    """Free what a user deleted of this job, so that a new import gets its names (no .001)."""
    for kind in ("objects", "collections", "cameras", "meshes", "pointclouds", "movieclips", "actions"):
        while unused := _unused(kind, job):  # a collection frees those inside it
            bpy.data.batch_remove(unused)


def _unused(kind: str, job: str) -> list[bpy.types.ID]:
    blocks = getattr(bpy.data, kind)
    return [block for block in blocks if block.get(JOB) == job and block.library is None and block.users == 0]


def census() -> set[int]:
    """Blender's ids of all datablocks of the kinds an import makes: whether any came or went."""
    return {block.session_uid for kind in _KINDS for block in getattr(bpy.data, kind)}


@contextmanager
def nothing_left_on_error() -> Iterator[None]:
    """If the body raises, remove every datablock it made."""
    before = census()
    try:
        yield
    except BaseException:
        blocks = (block for kind in _KINDS for block in getattr(bpy.data, kind))
        bpy.data.batch_remove([block for block in blocks if block.session_uid not in before])
        raise
