# Every verb runs in the environment of `make env`; its bin comes first on PATH, because
# nbgrader starts programs by name. Give your own with VENV=folder or PYTHON=python3.12.
VENV ?= .venv
COURSE ?= build/course
PYTHON ?= $(shell command -v python3.11 || command -v python3)
INSTALLED := $(VENV)/.installed
# A slow download is broken off, and goes on with `make cifar10`; the demo has its stand-in.
SOON := $(if $(shell command -v timeout),timeout 120)
# From whatever folder: the desk works in that of the course.
IMAGES = $$(cd "$(or $(CIFAR10_DIR),/nowhere)" 2>/dev/null && pwd)
CODE := $(wildcard cs231n datasets grading tests)
KEPT := course before-import-*
NO_COURSE := \( -name demo -o ! -exec test -e {}/nbgrader_config.py \; \)
export PATH := $(abspath $(VENV))/bin:$(PATH)
# Named, because make 3.81 of macOS starts a plain command itself, and then not from this PATH.
SHELL := $(shell command -v bash || echo /bin/sh)

.DEFAULT_GOAL := help

help: ## list the verbs
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2} \
	/^## / {print "\n" substr($$0, 4)}' $(MAKEFILE_LIST)
.PHONY: help

## Everybody
env: $(INSTALLED) ## make the environment in .venv from requirements.txt
cifar10: env ## download CIFAR-10 (or CIFAR10_URL=...), checked and unpacked
	python -m datasets.cifar10
synthetic-data: env ## draw a stand-in for CIFAR-10, for use without a network
	python -m datasets.synthetic
lab: env ## open the notebooks in JupyterLab
	jupyter lab $(ARGS)
check: env ## run the checks on your cs231n/ (one: make check NAME=affine_forward)
	python -m grading $(NAME) $(if $(ENTROPY),--entropy $(ENTROPY))
train: env ## train your ResNet-18 (ARGS="--budget 30m", or "--width 64 --epochs 15")
	python -m cs231n.train $(ARGS)
clean: ## remove caches and build/, but for courses (the demo goes) and kept student files
	rm -rf .pytest_cache .ruff_cache .hypothesis $$(find $(CODE) -name __pycache__)
	mkdir -p build && find build -mindepth 1 -maxdepth 1 $(KEPT:%=! -name '%') $(NO_COURSE) -exec rm -rf {} +

# By content: a fresh clone is newer than an environment that others share, and may not write to.
$(INSTALLED): requirements.txt
	@cmp -s $< $@ || { $(PYTHON) -m venv $(VENV) && \
	python -m pip install --disable-pip-version-check -r $< && cp $< $@; }

.PHONY: env cifar10 synthetic-data lab check train clean

## Students
submission: env ## make the archive to hand in (STUDENT=your_id)
	python -m grading.release submission --student "$(STUDENT)"
import: env ## take a solution of another year into cs231n/ (FROM=folder)
	python -m grading.release import "$(FROM)"
.PHONY: submission import

## Instructors: COURSE=build/demo works on another course than build/course
demo: env seal ## a class of examples, from release to grades
	@test -d "$(CIFAR10_DIR)" || $(SOON) python -m datasets.cifar10 || python -m datasets.synthetic
	python -m grading.classroom demo
release: env ## write the nbgrader course to build/course, and its released notebooks
	python -m grading.release course --out "$(COURSE)"
	python -m grading.classroom release --course "$(COURSE)"
dist: env ## make the students' archive in build/dist
	python -m grading.release dist
doctor: env ## say how well this machine can seal a student's code, and how to do better
	python -m grading.doctor
collect: env ## take in the archives of build/course/downloaded/assignment2/archive
	python -m grading.classroom collect --course "$(COURSE)"
grade: env ## grade what was collected
	python -m grading.classroom grade --course "$(COURSE)"
feedback: env ## write each student's feedback
	python -m grading.classroom feedback --course "$(COURSE)"
grades: env ## export the grades, a column a check, and a summary
	python -m grading.classroom grades --course "$(COURSE)"
report: env ## write a page about the class, and its data as CSV (NAMES=1 names students)
	python -m grading.class_report --course "$(COURSE)" $(if $(filter-out 0,$(NAMES)),--names)
scheduler: export DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL ?= 60s
scheduler: env ## start the scheduler of a cluster, for DASK_SCHEDULER=tcp://host:8786 make grade
	dask scheduler $(ARGS)
worker: env seal ## grade on this machine for DASK_SCHEDULER=tcp://host:8786
	python -m grading.machine "$(DASK_SCHEDULER)" $(ARGS)
similar: env ## list pairs of submissions that are closer than the starter code explains
	python -m grading.similar --course "$(COURSE)"

desk: env ## open the course in JupyterLab; its menu has the formgrader
	@test -d "$(COURSE)" || { echo "no $(COURSE) yet: make release or make demo comes first" >&2; exit 1; }
	export CIFAR10_DIR="$(IMAGES)"; cd "$(COURSE)" && jupyter lab $(ARGS)
.PHONY: demo release dist doctor collect grade feedback grades report scheduler worker similar desk

## Authors
build: env ## write cs231n's stubs and notebooks/ from the masters
	python -m grading.release build
compare: env ## fail if they differ from what the masters give
	python -m grading.release compare
lint: env ## check the style of all Python code
	ruff check
test: env packages ## run all tests (some: make test ARGS=tests/test_overlay.py)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)
mutants: env ## show that each known mistake loses its own check, and is named
	python -m grading.misconceptions
hostile: env packages ## grade the hostile submissions, with the wall and without it
	python -m tests.hostile $(ARGS)
bench: env ## measure layers, grading and training: docs/benchmarks.md (ARGS=--short to compare)
	python -m tests.bench $(ARGS)
bench-train: env ## measure the trainer's step beside the plain float32 loop's, and evaluation
	python -m tests.bench train $(ARGS)
fuzz: env ## send the wire what a liar would, for MINUTES=10
	python -m tests.fuzz_wire --minutes $(or $(MINUTES),10)
faults: env packages ## kill the grader at 50 moments, fill the disk, lock the gradebook
	python -m tests.faults $(ARGS)
packages: ## install the Debian packages that tests use, or say how to
	@test ! -x .ci/packages || .ci/packages bwrap=bubblewrap chromium chromedriver=chromium-driver \
	pg_ctlcluster=postgresql
seal: ## install bubblewrap, which seals students' code, or say how to
	@test ! -x .ci/packages || .ci/packages bwrap=bubblewrap
.PHONY: build compare lint test mutants hostile bench bench-train fuzz faults packages seal
