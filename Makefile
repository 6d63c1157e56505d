# make reproduce                 the study: environment, pipeline, report
# make reproduce PROFILE=smoke   the same in minutes, for a first look
# make test                      lint and tests
# make bench                     how fast, as ratios to the bare work
PROFILE ?= default
PYTHON ?= python3.11

VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export TQDM_MININTERVAL := 10
# Keep freed memory instead of handing it back to the system and asking for it again at every step.
export MALLOC_MMAP_THRESHOLD_ := 1073741824
export MALLOC_TRIM_THRESHOLD_ := 4294967296
export MALLOC_TOP_PAD_ := 67108864
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1

# DVC records a run as a Git commit outside all branches, which needs a name where Git has none.
ifeq ($(shell git config user.email),)
export GIT_AUTHOR_NAME := handdgcl
export GIT_AUTHOR_EMAIL := handdgcl@localhost
export GIT_COMMITTER_NAME := $(GIT_AUTHOR_NAME)
export GIT_COMMITTER_EMAIL := $(GIT_AUTHOR_EMAIL)
endif

.PHONY: reproduce test bench
reproduce: $(VENV)/installed
	@if grep -qx 'profile: $(PROFILE)' params.yaml; then dvc repro; else dvc exp run -S profile=$(PROFILE); fi
	@echo "report: $(CURDIR)/$$(sed -n 's/^reports: //p' params.yaml)/index.html"

test: $(VENV)/installed
	@ruff check --quiet . && ruff format --check --quiet .
	@pytest

bench: $(VENV)/installed
	@python -m handdgcl.bench

$(VENV)/installed: requirements.lock pyproject.toml
	@echo "installing into $(VENV) (some minutes)"
	@$(PYTHON) -m venv $(VENV)
	@python -m pip install -qq -r requirements.lock
	@python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@
