# Everything runs inside this folder (.cache) and in containers, networks and images named apiops-tyk-redis-*.
# Needs: a Debian with git, make, Python 3.11 or later, and root.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

HOST ?= redis1
SCENARIO ?= default
ROUNDS ?= 5
BIN := $(CURDIR)/.cache/venv/bin
export PATH := $(BIN):$(CURDIR)/.cache/bin:$(PATH)

# redis-tools carries the server's binary as well; the package redis-server would start a service on this machine.
PACKAGES := ca-certificates haproxy iproute2 iptables mmdebstrap netavark openssh-client podman python3-venv redis-tools runc shellcheck spiped systemd
REQUIREMENTS := $(wildcard tests/requirements.txt tests/integration/requirements.txt)

.PHONY: help
help: ## list the targets
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1 \2/p' $(firstword $(MAKEFILE_LIST)) \
	  | while read -r target text; do printf '  %-12s %s\n' "$$target" "$$text"; done

.PHONY: demo
demo: tools ## make ten local hosts, run playbooks/site.yml and playbooks/verify.yml on them, leave them up
	@python tests/demo.py

.PHONY: verify
verify: tools ## run playbooks/verify.yml on the demo's hosts once more
	@python tests/demo.py verify

.PHONY: test
test: tools ## run everything that CI checks (SUITES="ruff units" for some of it)
	@python tests/run_suites.py $(SUITES)

.PHONY: shell
shell: ## open a shell on a host of the demo: make shell HOST=redis1
	@podman container exists apiops-tyk-redis-demo-$(HOST) || { echo 'There is no demo host $(HOST). The demo has:'; \
	  podman ps --format '{{.Names}}' --filter name=^apiops-tyk-redis-demo- | sed 's/^apiops-tyk-redis-demo-/  /'; exit 1; } >&2
	@podman exec --interactive $$([ -t 0 ] && echo --tty) apiops-tyk-redis-demo-$(HOST) bash --login

.PHONY: lint
lint: tools ## run the linters and type checks only
	@python tests/run_suites.py ruff mypy yamllint ansible-lint shellcheck changelog docs

.PHONY: unit
unit: tools ## run the unit tests only
	@python tests/run_suites.py units

.PHONY: integration
integration: tools ## run the module tests against real Redis and Valkey servers only
	@python tests/run_suites.py integration

.PHONY: molecule
molecule: tools ## run one molecule scenario: make molecule SCENARIO=debian13
	@python tests/run_suites.py artefact molecule-$(SCENARIO)

.PHONY: bench
bench: tools .cache/stamps/valkey-cli ## measure against the servers' own tools, for about an hour (ROUNDS=1 for a fifth of that)
	@mkdir -p .cache/bench/tree/ansible_collections/apiops && ln -sfn $(CURDIR) .cache/bench/tree/ansible_collections/apiops/tyk_redis
	@for subject in planner noop create rebalance failover encryption; do \
	  PYTHONPATH=.cache/bench/tree python tests/benchmarks/$$subject.py --rounds $(ROUNDS) || exit 1; done

.PHONY: format
format: tools ## rewrite the Python code in the project's format
	@ruff check --fix --quiet . ; ruff format .

.PHONY: docs
docs: tools ## write docs/tyk-settings.md anew from the table of settings
	@mkdir -p .cache/bench/tree/ansible_collections/apiops && ln -sfn $(CURDIR) .cache/bench/tree/ansible_collections/apiops/tyk_redis
	@PYTHONPATH=.cache/bench/tree python tests/settings_page.py

.PHONY: artefact
artefact: tools ## build the collection and install it into .cache/artefact/collections
	@python tests/artefact.py .cache/artefact

.PHONY: tools
tools: .cache/stamps/packages .cache/stamps/venv .cache/stamps/servers .cache/stamps/crypto ## install what all the others need: Debian packages, Python tools, servers

.cache/stamps/packages: Makefile
	@mkdir -p .cache/bin .cache/logs .cache/stamps
	@missing=; for package in $(PACKAGES); do \
	  dpkg-query --show --showformat='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then \
	  [ "$$(id -u)" = 0 ] || { echo "These Debian packages are needed, and only root can install them:$$missing" >&2; exit 1; }; \
	  echo "Installing Debian packages:$$missing"; \
	  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $$missing; } \
	    >.cache/logs/packages.log 2>&1 || { cat .cache/logs/packages.log; exit 1; } >&2; \
	fi
	@ln -sf /usr/bin/redis-check-rdb .cache/bin/redis-server
	@touch $@

# The distribution's own comes first: it is optimised, and Ansible's work on the controller is what takes most of the time.
# A `python3` on the PATH may be a version manager's dead shim, or lack a module: only one that works counts.
.cache/stamps/venv: $(REQUIREMENTS) .cache/stamps/packages
	@for candidate in /usr/bin/python3 python3.11 python3.12 python3.13 python3 none; do \
	  "$$candidate" -c 'import sys, ssl, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && break; done; \
	[ "$$candidate" != none ] || { echo 'No working Python 3.11, 3.12 or 3.13 was found.' >&2; exit 1; }; \
	echo "Installing the Python tools into .cache/venv, with $$candidate"; \
	rm -rf .cache/venv && "$$candidate" -m venv .cache/venv && \
	.cache/venv/bin/python -m pip install --quiet --disable-pip-version-check $(foreach file,$(REQUIREMENTS),--requirement $(file))
	@touch $@

# Servers that neither this machine's packages nor a wheel brings, and the oldest redis-py that the modules run with.
.cache/stamps/servers: tests/integration/debian_server.sh .cache/stamps/packages .cache/stamps/venv
	@echo 'Bringing Redis 6.0 and 8.0 into .cache/servers, and redis-py 3.5.3 into .cache/redis-py'
	@tests/integration/debian_server.sh bullseye .cache/servers/redis-6.0 2>.cache/logs/servers.log && \
	tests/integration/debian_server.sh trixie .cache/servers/redis-8.0 2>>.cache/logs/servers.log || { cat .cache/logs/servers.log; exit 1; } >&2
	@rm -rf .cache/redis-py
	@.cache/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target .cache/redis-py/3.5.3 redis==3.5.3
	@touch $@

.cache/stamps/crypto: tests/crypto_collection.sh .cache/stamps/venv
	@echo 'Bringing the collection community.crypto into .cache/collections'
	@tests/crypto_collection.sh .cache/collections
	@touch $@

.cache/stamps/valkey-cli: tests/benchmarks/valkey_cli.sh .cache/stamps/packages
	@echo 'Bringing valkey-cli into .cache/servers'
	@tests/benchmarks/valkey_cli.sh .cache/servers/valkey-cli 2>.cache/logs/valkey-cli.log || { cat .cache/logs/valkey-cli.log; exit 1; } >&2
	@touch $@

.PHONY: clean
clean: ## remove every trace: the demo's and the tests' hosts, networks and images, and .cache
	@if command -v podman >/dev/null; then \
	  ours='--filter name=^apiops-tyk-redis- --filter label=io.github.apiops.tyk_redis=lab'; \
	  for name in $$(podman ps --all --format '{{.Names}}' $$ours); do podman rm --force --time 0 "$$name" >/dev/null && echo "removed host $$name"; done; \
	  for name in $$(podman network ls --format '{{.Name}}' $$ours); do podman network rm "$$name" >/dev/null && echo "removed network $$name"; done; \
	  for name in $$(podman images --format '{{.Repository}}:{{.Tag}}' --filter 'reference=localhost/apiops-tyk-redis-*' --filter label=io.github.apiops.tyk_redis=lab); do \
	    podman rmi "$$name" >/dev/null && echo "removed image $$name"; done; \
	fi
	@rm -rf .cache .ansible tests/output .ruff_cache .mypy_cache .pytest_cache .hypothesis
