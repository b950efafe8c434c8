"""Arrays to datablocks: what an artist gets from a job folder. Callable from a script without any window.

`job.import_job(scene, folder)` does it all; the other modules make one kind of thing each: `cameras`, `plate`,
`points` with `point_nodes`. `jobdata`, `cloud`, `placement` and `exif` read and compute with numpy only, and so may
run in a thread.

Coordinates: everything below the root empty is in the engine's own world (the numbers of cameras.json); only the root
says how that world stands in Blender's.
"""
