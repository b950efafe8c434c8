"""The engine as Blender sees it: where its Python lives, its process, the running job, the timer that pumps it."""
