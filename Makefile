# make train   environment, then the main job on embedded data: train, fold, export, compare
# make test    environment, then format, lint and the default tests, on TensorFlow and JAX
# make wheel   build and check the wheel, then use it in empty environments: with TensorFlow, and on JAX alone
# make bench   timings side by side on this machine
# make docs    the documentation with its API reference, in site/
# make ledger  docs/ledger.md and the tables of results in docs/ from results/; RUNS=DIR adds the runs under DIR to results/ before
# Variables: PYTHON=python3.12 chooses the interpreter; ARGS="--data cifar10 --depth 28" goes to the command.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
PARALLEL := -n auto --dist loadfile  # a file's tests share their fixtures; say ARGS="-n 0" to see output as it comes
# Tests of the backend-neutral core, which run on JAX too.
NEUTRAL := tests/test_kernels.py tests/test_constraints.py tests/layers tests/models tests/phase_out \
	  tests/folding/test_branches.py tests/graph/test_features.py tests/evaluation \
	  $(addprefix tests/conversion/test_,exact.py dirac.py pruning.py) \
	  $(addprefix tests/deployment/test_,calibration.py equalization.py finetuning.py gate.py identity_apart.py) \
	  $(addprefix tests/deployment/test_,ordering.py quantize.py rounding.py) tests/diagnostics/test_quantization.py \
	  $(addprefix tests/training/test_,optimizers.py losses.py schedules.py origin.py averaging_resumed.py fast.py) \
	  $(addprefix tests/training/test_,training_error.py given.py dropout.py plateau.py) \
	  $(addprefix tests/training/test_,decoupled.py class_weights.py combinations.py validating.py best.py rate_finder.py) \
	  tests/training/chunks $(addprefix tests/training/test_,mixed_images.py freezing.py starting.py muon.py recipes.py seeds.py steps.py) \
	  tests/training/test_tasks.py tests/pipelines/tables $(addprefix tests/pipelines/test_,given.py checks.py) \
	  $(addprefix tests/diagnostics/test_,measure.py numbers.py page.py start.py) tests/pages \
	  $(addprefix tests/explanation/test_,exact.py receptive.py) \
	  tests/pipelines/additions $(addprefix tests/pipelines/test_,colours.py draws.py array_decoder.py array_streams.py archives.py)

.PHONY: train test test-slow lint wheel bench docs ledger clean
.DELETE_ON_ERROR:

# A small DiracNet on scikit-learn's handwritten digits.
train: $(READY)
	$(BIN)/dirac-keras train --data digits --depth 16 --width 1 --epochs 30 --workdir runs/digits $(ARGS)

test: lint
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(PARALLEL) $(ARGS) $(NEUTRAL)

# The many networks of keras.applications; on JAX all of folding, networks side by side, importers, and the slow tests of
# the neutral core.
# MINUTES=25: what has not begun by then in the first part, which is the longest, is left out and counted; so is what has
# not begun after 10 minutes of the last.
MINUTES ?=
test-slow: $(READY)
	$(BIN)/python -m pytest $(PARALLEL) -m slow $(if $(MINUTES),--minutes $(MINUTES) --no-loadscope-reorder) $(ARGS)
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(PARALLEL) $(ARGS) tests/folding/test_fold.py \
	  tests/experiments/test_side_by_side.py tests/weights/test_importing.py tests/explanation/test_models.py
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(PARALLEL) -m slow $(if $(MINUTES),--minutes 10 --no-loadscope-reorder) $(ARGS) \
	  $(NEUTRAL)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo

# What a user installs. It needs PyPI and a few minutes; ARGS="--only jax" tries one environment.
wheel: $(READY)
	$(BIN)/python tests/packaging/check_wheel.py $(ARGS)

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

# The documentation with its API reference, in site/. Warnings are errors.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

# What the ledger needs of a run that has ended is its config and its figures, 4 KB: results/ keeps them.
RUNS ?=
ledger: $(READY)
	mkdir -p results
	$(if $(RUNS),cd $(RUNS) && find . \( -name summary.json -o -name diverged.txt \) -printf '%h/config.json\0%p\0' \
	  | xargs -0 cp --parents -t $(CURDIR)/results)
	$(BIN)/dirac-keras reproduce --ledger docs/ledger.md --workdir results
	$(BIN)/python -m dirac_keras.experiments.ledger.inserts results docs/*.md

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): requirements.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else \
	  f"Python 3.10 to 3.13 is needed; {sys.executable} is {sys.version.split()[0]}. Say PYTHON=python3.12 make ...")'
	$(PYTHON) -m venv --upgrade-deps $(VENV)  # the pip that Python 3.10 brings resolves for a quarter of an hour
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(READY)
