"""The engine's command line with the methods "fake" and "moving_shot" added."""

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parents[2])]
    from blender_3r.engine import methods
    from blender_3r.engine.service.cli import main

    methods.METHODS["fake"] = "fake_method"
    methods.METHODS["moving_shot"] = "moving_shot"
    sys.exit(main())
