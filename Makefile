# Everything a newcomer needs: `make demo` and `make test` set themselves up; a second call installs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXPORT := $(BIN)/uv export --quiet --no-emit-project --no-header --no-annotate
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-systemd test-image soak check format bench reference picture lock clean

demo: $(VENV)/.run  ## the whole system on this machine: make demo ARGS="--seconds 20"
	@$(BIN)/notifier demo $(ARGS)

test: $(VENV)/.dev  ## the test suite
	@$(BIN)/python -m pytest $(ARGS)

test-systemd: $(VENV)/.dev  ## the service on a real systemd: as root, with the package systemd-container
	@$(BIN)/python -m pytest -m boot $(ARGS)

test-image: $(VENV)/.dev  ## build the image and run it; needs root, buildah, podman and debootstrap
	@$(BIN)/python -m pytest -m image tests/test_image.py $(ARGS)

soak: $(VENV)/.dev  ## what takes too long for the suite: a thousand kills, thirty times as many full disks, years by accelerated clock
	@$(BIN)/python -m pytest -m soak $(ARGS)

check: $(VENV)/.dev  ## format, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## measure what the README promises
	$(BIN)/python benchmarks/run.py $(ARGS)

reference: $(VENV)/.dev  ## write docs/configuration.md and config/notifier.schema.json anew
	$(BIN)/notifier schema > config/notifier.schema.json
	$(BIN)/python docs/reference.py

picture: $(VENV)/.dev  ## draw the pictures in docs/ anew; needs chromium and the fonts Lato and Noto Color Emoji
	$(BIN)/python docs/picture.py
	$(BIN)/python -m docs.page

lock: $(VENV)/.venv  ## lock the newest versions of all dependencies
	$(PIP) install uv
	rm -f uv.lock  # it names a registry on every line: it is not committed, and not needed
	$(BIN)/uv lock --quiet --python $(BIN)/python
	$(EXPORT) --only-group build -o requirements/build.txt
	$(EXPORT) --no-default-groups -o requirements/run.txt
	$(EXPORT) --only-group dev -o requirements/dev.txt

clean:  ## remove the virtual environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.venv:
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else "Python 3.11 to 3.13 is needed, this is %d.%d; name another: make PYTHON=python3.12 …" % v[:2])'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.run: requirements/build.txt requirements/run.txt pyproject.toml $(VENV)/.venv
	@echo "Installing …"
	@$(PIP) install --require-hashes -r requirements/build.txt
	@$(PIP) install --require-hashes --no-build-isolation --use-pep517 -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Installing the tools for development …"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
