# Needs python3 >= 3.11 and make. Everything lands in .venv, in .venv-peers and in the model cache.
.PHONY: setup setup-peers demo demo-service test test-peers lint lock clean
PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

# Nothing is compiled ahead: a tenth of what is installed is ever imported, and compiling all of it takes longer than its download.
setup: .venv/.ready

.venv/.ready: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Watchword needs python3 >= 3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile torch==2.13.0
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

demo: setup
	$(BIN)/watchword demo

# The service from a tenant's side: one poisoned file, tuned without a defense and with it.
demo-service: setup
	$(BIN)/watchword demo --service

# A process for each core; a file's tests stay together, for they share what is slow to make. Files keep the order of tests/conftest.py.
test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Other trainers and Ray, each in an environment of its own; PEERS="axolotl ray" runs some of them.
test-peers: setup
	$(BIN)/python tests/peers/run_peers.py $(PEERS)

# Their environments alone, so that tests can run while packages are fetched.
setup-peers: setup
	$(BIN)/python tests/peers/run_peers.py --set-up

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# torch, and the CUDA packages it names, stay out of the lock: their builds differ by machine.
NOT_LOCKED := torch triton setuptools cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti \
  nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver \
  nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --quiet --no-header --no-annotate \
  $(foreach p,$(NOT_LOCKED),--no-emit-package $(p))
# What the image of the service can do: all but testing and lm-eval.
IMAGE := train guard gateway service otel postgres vault kms s3 openai
PEER_LOCKS := $(patsubst %.in,%.lock,$(wildcard tests/peers/*.in))
lock:
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) pyproject.toml --all-extras --excludes tests/peers/ours.left_out --generate-hashes -o requirements.lock
	$(COMPILE) pyproject.toml $(addprefix --extra ,$(IMAGE)) --constraint requirements.lock --generate-hashes -o deploy/requirements.lock
	$(MAKE) --always-make $(PEER_LOCKS)

# Axolotl imports triton, on a CPU as well; to the others it is but a part of torch for CUDA.
tests/peers/axolotl.lock: NOT_LOCKED := $(filter-out triton,$(NOT_LOCKED))
# The name of vLLM for processors asks for a torch by a version that PyPI does not have, and for one of setuptools.
tests/peers/vllm.lock: NOT_LOCKED := $(filter-out setuptools,$(NOT_LOCKED))
tests/peers/vllm.lock: COMPILE += --override tests/peers/vllm.override
ENGINES := tests/peers/llama_cpp.lock tests/peers/transformers_serve.lock tests/peers/vllm.lock
$(ENGINES): COMPILE += --generate-hashes
# uv keeps the versions that stand in its output where it may: a peer then shares as many packages with us as it can.
tests/peers/%.lock: tests/peers/%.in
	cp requirements.lock $@
	$(COMPILE) $< $(addprefix --excludes ,$(wildcard tests/peers/$*.left_out)) -o $@

clean:
	rm -rf runs build dist .pytest_cache .mypy_cache .ruff_cache
