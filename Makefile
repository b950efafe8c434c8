# A fresh Linux machine needs make, git and Python 3.11; everything else is set up by the targets themselves.
#
#   make demo                 build, install into Blender, reconstruct the demo shot: out/demo.blend and out/demo.png
#   make demo FOOTAGE=path    the same with a movie, an image of a sequence or a folder of photos
#   make test                 the whole suite, without a window       make test-gui   tests in a real Blender window
#   make test-gui SCENARIOS="first_steps job"                         some of them
#   make zip                  the extension in dist/                  make lint       ruff
#   make clean                remove what was built (out, dist)       make distclean  and the environments too

PYTHON ?= python3.11
FOOTAGE ?=
SCENARIOS ?=
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: demo test test-gui lint zip clean distclean python

demo: python
	@$(PYTHON) -m scripts.demo $(if $(FOOTAGE),--footage "$(FOOTAGE)")

test: python
	@$(PYTHON) -m scripts.suite

test-gui: python
	@$(PYTHON) -m scripts.environments engine
	@.venv/engine/bin/python -m tests.gui $(SCENARIOS)

lint: python
	@$(PYTHON) -m scripts.environments engine
	@.venv/engine/bin/ruff check . && .venv/engine/bin/ruff format --check .

zip: python
	@$(PYTHON) build_addon.py

clean:
	rm -rf out dist .pytest_cache .ruff_cache

distclean: clean
	rm -rf .venv

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Python 3.11 is needed and '$(PYTHON)' is not it. Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
