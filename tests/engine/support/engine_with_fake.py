"""The engine's command line with the method "fake" added."""

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parents[2])]
    from blender_3r.engine import methods
    from blender_3r.engine.service.cli import main

    methods.METHODS["fake"] = "fake_method"
    sys.exit(main())
