# Two commands set everything up: `make demo` (the main job on real input) and `make test` (the tests).
# The distribution's interpreter, which python3-venv belongs to and which is built for speed, before another on the PATH.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
SUDO   := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# sudo drops the environment: where a proxy or a bundle of certificates is named, the demo cannot do without.
KEPT   := $(foreach v,SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE PIP_CERT NODE_EXTRA_CA_CERTS GIT_SSL_CAINFO AWS_CA_BUNDLE \
            http_proxy https_proxy ftp_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY FTP_PROXY NO_PROXY ALL_PROXY,\
            $(if $(value $v),$v="$$$v"))
# What a full installation uses at run time (docs/dependencies.md): an OCI runtime, container networks, git contexts.
SYSTEM := python3-venv crun runc aardvark-dns iptables ca-certificates git
# What the demo and the tests make base images from.
BASES  := busybox-static mmdebstrap debian-archive-keyring

# Where the current releases of the peers are kept.
PEERS  ?= $(HOME)/.cache/boxwright-peers

.PHONY: help demo test soak coverage check format bench peers docs clean system

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: system $(BIN)/.installed ## install Boxwright and its system packages, then do the main job on real input
	$(SUDO) env $(KEPT) BOXWRIGHT=$(abspath $(BIN)/boxwright) examples/demo.sh

test: system $(BIN)/.dev ## install the development tools, then run all tests (as root: the rooted ones too)
	$(BIN)/python -m pytest -n 2 --dist loadfile --check-host $(ARGS)

coverage: system $(BIN)/.dev ## which lines the tests run: in every process, a supervisor's and a server's too
	PYTHONPATH=tests $(BIN)/python -m support.measured -n 2 --dist loadfile $(ARGS)

soak: system $(BIN)/.dev ## the random tests (power cuts, kills) for SECONDS each, 600 by default
	BOXWRIGHT_SOAK=$(or $(SECONDS),600) $(BIN)/python -m pytest -m soak --check-host $(ARGS)

check: $(BIN)/.dev ## ruff, its formatter and mypy --strict
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy

format: $(BIN)/.dev ## lay out src, tests and bench
	$(BIN)/ruff format src tests bench

bench: system $(BIN)/.dev ## whole-process times against docker, podman and buildah in one run, as ratios
	$(BIN)/python -m bench $(ARGS)

peers: system ## fetch the current docker, podman, skopeo, cosign, …, which tests and bench compare with (once; 1 GB)
	$(SUDO) env $(KEPT) PEERS=$(PEERS) tests/peers/fetch

docs: $(BIN)/.dev ## write docs/reference from the parsers
	$(BIN)/python -m boxwright.cli.docs

clean: ## remove what make made
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Only what is missing is installed, so that a second run needs neither root nor a network.
system:
	@missing=$$(for p in $(SYSTEM) $(BASES); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing:" $$missing; $(SUDO) env $(KEPT) apt-get update -qq && \
	$(SUDO) env $(KEPT) DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

$(BIN)/python: | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q "pip>=25"  # whose scripts start sooner: they import no `re`

$(BIN)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e .
	@$(BIN)/python -m compileall -q src  # as pip does for a package that is not editable
	@touch $@

$(BIN)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[dev]'
	@$(BIN)/python -m compileall -q src
	@touch $@ $(BIN)/.installed
