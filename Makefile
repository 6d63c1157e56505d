# make reproduce                 the study: environment, pipeline, report
# make reproduce PROFILE=smoke   the same in minutes, for a first look
# make reproduce PROFILE=long    the study with the families of Table 1, in many hours
# make test                      lint and tests
# make bench                     how fast, as ratios to the bare work
PROFILE ?= default
# The first that runs; `make PYTHON=/path/to/python …` names another.
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell python$(v) -c 'import sys; print(sys.executable)' 2>/dev/null)))

VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# Those of another environment would be found before this one's.
unexport PYTHONPATH PYTHONHOME JUPYTER_PATH
export PYTHONUTF8 := 1
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

# In a session of its own: one signal to make ends all of it, without a word of each.
define supervised
trap 'kill -TERM -$$pid 2>/dev/null; wait $$pid; echo "stopped; the same command goes on"; exit 130' INT TERM HUP; \
python -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' $(1) & pid=$$!; wait $$pid
endef

.PHONY: reproduce test bench
reproduce: $(VENV)/installed
	@test ! -L runs || { echo "runs is a link, which DVC does not track: clone onto the disk that has room"; exit 1; }
	@$(VENV)/bin/dvc --version >/dev/null 2>&1 || { echo "$(VENV) does not run, as one that was moved: rm -r $(VENV), then again"; exit 1; }
	@test "$$(git rev-parse --show-toplevel 2>/dev/null)" -ef . && git rev-parse --quiet --verify HEAD >/dev/null || { echo "no Git commit here, which DVC needs: clone the project,"; \
		echo "or git init && git add -A && git -c user.name=me -c user.email=me@localhost commit -qm start"; exit 1; }
	@test -s .dvc/tmp/rwlock || rm -f .dvc/tmp/rwlock  # a kill while DVC writes it leaves it empty, and DVC refuses that
	@echo "profile $(PROFILE): on two cores, smoke takes minutes, default about an hour, long many; all can be interrupted"
	@if grep -qx 'profile: $(PROFILE)' params.yaml; then set -- dvc repro; else set -- dvc exp run -S profile=$(PROFILE); fi; \
	$(call supervised,"$$@")
	@echo "report: $(CURDIR)/$$(sed -n 's/^reports: //p' params.yaml)/index.html"

test: $(VENV)/installed
	@ruff check --quiet . && ruff format --check --quiet .
	@OMP_NUM_THREADS=1 pytest -n auto --maxprocesses 4 --dist loadfile

bench: $(VENV)/installed
	@python -m handdgcl.bench

$(VENV)/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "needs Python 3.11, 3.12 or 3.13, none of which runs here; make PYTHON=/path/to/it"; exit 1; }
	@echo "installing into $(VENV) with $(PYTHON) (some minutes, 2.5 GB)"
	@$(PYTHON) -m venv $(VENV)
	@python -m pip install -qq -r requirements.lock
	@python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@
