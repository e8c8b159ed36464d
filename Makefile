# `make` lists the targets. Each one sets up .venv by itself; only the first time needs a network.

PYTHON ?= python3
VENV ?= .venv
HIL_VENV ?= .venv-hil
ARGS ?=
# What `make hil` tests: qemu, a system of Debian packages, or image, the one of `make image BOARD=qemu-virt`.
ENV ?= qemu
HIL_qemu = virtual
HIL_image = image
HIL_BUILD = build/hil$(if $(filter image,$(ENV)),-image)
BENCH ?= hil/environments/bench.yaml
HOST =
RS485 =
LISTENER =
UV_VERSION = 0.13.9

BIN = $(VENV)/bin
STAMP = $(VENV)/.setup-done
# The files that take longest first, so that no worker ends with one of them alone.
TESTS = tests/integration tests/fuzz tests/conformance tests/unit

.DEFAULT_GOAL := help
.PHONY: help setup run test hil hil-bench hil-rehearsal bench lint format docs lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@echo "usage: make <target> [ARGS=...] [PYTHON=python3.13 VENV=.venv-3.13]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with the locked packages (the other targets do it too)

run: $(STAMP) ## gateway and demo chargers on this computer; Ctrl-C ends it (ARGS="--help" shows the options)
	@$(BIN)/ampgate run --demo $(ARGS)

test: $(STAMP) ## every test that needs no hardware (ARGS="-k mbap" chooses)
	@$(BIN)/python -m pytest $(TESTS) -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

hil: $(HIL_VENV)/.setup-done ## build an emulated ARM64 device and run the tests under hil/ on it (as root; hil/README.md)
	@[ "$$(id -u)" -eq 0 ] || { echo "make hil needs root: for the device's file systems and a network namespace" >&2; exit 1; }
	@hil/virtual/install-tools
	@$(MAKE) --no-print-directory -f hil/$(HIL_$(ENV))/Makefile PYTHON=$(PYTHON) BUILD=$(HIL_BUILD)
	@rm -f $(HIL_BUILD)/console.log
	@cd hil && unshare --net $(abspath $(HIL_VENV))/bin/python -m pytest --lg-env environments/$(ENV).yaml $(ARGS) \
		|| { echo "the console of the device, last lines (all of it: $(HIL_BUILD)/console.log):" >&2; \
			tail -n 40 ../$(HIL_BUILD)/console.log >&2; exit 1; }

hil-bench: $(HIL_VENV)/.setup-done ## run the tests under hil/ on a real device: HOST=<address> RS485=/dev/ttyUSB0 (hil/README.md)
	@case "$(ARGS)" in *--collect-only*) ;; *) [ -n "$(HOST)" ] && [ -n "$(RS485)" ] || { \
		echo "usage: make hil-bench HOST=<address of the device> RS485=/dev/ttyUSB0 [LISTENER=/dev/ttyUSB1]" >&2; exit 1; };; \
	esac
	@cd hil && LG_HOST="$(HOST)" LG_RS485="$(RS485)" LG_LISTENER="$(LISTENER)" \
		LG_LISTENER_FEATURE="$(if $(LISTENER),rs485-listener,no-listener)" \
		$(abspath $(HIL_VENV))/bin/python -m pytest --verbose --lg-env $(abspath $(BENCH)) --timeout 3600 $(ARGS)

hil-rehearsal: $(HIL_VENV)/.setup-done ## hil-bench with a gateway on this computer as the device and a script as the operator
	@unshare $$([ "$$(id -u)" -eq 0 ] || echo --map-root-user) --net \
		env PYTHONPATH=$(CURDIR)/firmware:$(CURDIR) $(HIL_VENV)/bin/python -m hil.rehearsal $(ARGS)

bench: $(STAMP) ## speed, side by side with other implementations
	@$(BIN)/python -m tests.bench $(ARGS)

lint: $(STAMP) ## style, types, import rules, shell scripts, image, register map
	@echo "ruff check"; $(BIN)/ruff check --quiet
	@echo "ruff format --check"; $(BIN)/ruff format --check --quiet || { echo "make format mends this" >&2; exit 1; }
	@echo "mypy --strict"; $(BIN)/mypy --strict --no-error-summary firmware/
	@echo "import rules"; out=$$($(BIN)/lint-imports --no-logo 2>&1) || { printf '%s\n' "$$out" >&2; exit 1; }
	@echo "shellcheck"; PATH="$(abspath $(BIN)):$$PATH"; command -v shellcheck >/dev/null \
		|| { echo "shellcheck not found: apt install shellcheck" >&2; exit 1; }; \
	shellcheck $$(grep -lsE '^#!.*sh' .ci/run scripts/* hil/* hil/virtual/* hil/virtual/initramfs/* hil/image/* board/common/* \
		buildroot-external/packages/*/*)
	@echo "image"; $(BIN)/python scripts/check-image $(if $(BUILDROOT),--buildroot $(BUILDROOT))
	@echo "register map"; $(BIN)/python -m ampgate.registers.lint
	@echo "docs/register-map.md"; $(BIN)/ampgate registers --format md | diff -u docs/register-map.md - >&2 \
		|| { echo "docs/register-map.md is out of date: run 'make docs'" >&2; exit 1; }

format: $(STAMP) ## mend what ruff can: layout and import order
	@$(BIN)/ruff check --quiet --select I --fix
	@$(BIN)/ruff format

docs: $(STAMP) ## regenerate docs/register-map.md from the register map
	@$(BIN)/ampgate registers --format md > $(VENV)/register-map.md
	@mv $(VENV)/register-map.md docs/register-map.md
	@echo "docs/register-map.md written"

lock: ## regenerate requirements.lock from pyproject.toml (ARGS=--upgrade takes newer versions)
	@$(ensure_venv)
	@echo "resolving requirements.lock ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip compile pyproject.toml --extra demo --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		--quiet --output-file requirements.lock $(ARGS)
	@$(BIN)/uv pip compile pyproject.toml hil/requirements.in --universal --python-version 3.11 \
		--constraint requirements.lock --no-emit-package pyserial \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		--quiet --output-file hil/requirements.lock $(ARGS)
	@$(BIN)/uv pip compile pyproject.toml hil/virtual/requirements.in --python-platform aarch64-unknown-linux-gnu \
		--python-version 3.13 --constraint requirements.lock --no-emit-package lgpio \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		--quiet --output-file hil/virtual/requirements.lock $(ARGS)
	@echo "requirements.lock, hil/requirements.lock, hil/virtual/requirements.lock written"

clean: ## remove .venv and everything else that can be made again
	rm -rf $(VENV) $(HIL_VENV) build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache .ampgate
	find firmware tests -name __pycache__ -prune -exec rm -rf {} +

include scripts/image.mk

# Touched last, so that an interrupted set-up starts again.
$(STAMP): requirements.lock pyproject.toml
	@$(ensure_venv)
	@start=$$(date +%s); \
	echo "installing $$(grep -c '^[a-z].*==' requirements.lock) packages into $(VENV) (first time: about a minute, needs a network) ..."; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . && \
	echo "$(VENV) is ready after $$(( $$(date +%s) - start )) s"
	@touch $@

# labgrid brings its own build of pyserial: an environment of its own.
$(HIL_VENV)/.setup-done: override VENV = $(HIL_VENV)
$(HIL_VENV)/.setup-done: hil/requirements.lock
	@$(ensure_venv)
	@echo "installing the packages of hil/requirements.lock into $(HIL_VENV) ..."
	@$(HIL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r hil/requirements.lock
	@touch $@

# A virtual environment that works, made anew when there is none or when its interpreter is gone.
define ensure_venv
if ! $(BIN)/python -c 'import pip' >/dev/null 2>&1; then \
	command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) not found: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$$($(PYTHON) --version 2>&1) is too old: ampgate needs Python 3.11 or newer; name one: make PYTHON=python3.13" >&2; exit 1; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot create virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	echo "creating $(VENV) with $$($(PYTHON) --version) ..."; \
	$(PYTHON) -m venv --clear $(VENV); \
fi
endef
