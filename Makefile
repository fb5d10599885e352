# Every command sets up what it needs first; a repeated run finds it done and goes straight on.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
PYTHON := .venv/bin/python
# Debian keeps mosquitto where an ordinary user's PATH does not look.
export PATH := $(PATH):/usr/sbin
# Where `make install` lays things out; packagers say PREFIX=/usr and a DESTDIR.
PREFIX ?= /usr/local
DESTDIR ?=
LIB = $(DESTDIR)$(PREFIX)/lib
SHARE = $(DESTDIR)$(PREFIX)/share
APP = $(LIB)/scenic-gate/app
PACKAGES := admission scanner offline_cache sync config gate_agent central
UNITS := $(notdir $(wildcard systemd/*.service systemd/*.path systemd/*.timer))
BENCHES := $(addprefix bench-,$(filter-out _%,$(basename $(notdir $(wildcard bench/*.py)))))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-test run smoke holiday test coverage mutation frames faults fuzz check bench lock install clean $(BENCHES)

## help        list these commands
help:
	@sed -n 's/^## /make /p' Makefile

## setup       install what a box and the centre need: libzbar, Mosquitto, the locked Python packages
setup:
	@tools/setup.sh run

## setup-test  setup, and what checks and tests need: Chromium, Chinese fonts, development packages
setup-test:
	@tools/setup.sh test

## run         show the whole gate in a browser; CAMERA=/dev/video0 (or an address, file, folder) uses that camera
run: setup
	@$(PYTHON) -I -m demo.run $(if $(CAMERA),--camera "$(CAMERA)")

## smoke       the same without a browser, with faults; the last line is one JSON object
smoke: setup
	@$(PYTHON) -I -m demo.smoke

## holiday     replay a holiday's busiest hours: CASE=new-year, spring-festival or may-day; draws docs/holiday-CASE.svg
holiday: setup
	@$(PYTHON) -I -m demo.holiday $(or $(CASE),may-day) --picture docs/holiday-$(or $(CASE),may-day).svg

## test        check, then every test
test: check
	@$(PYTHON) -m pytest

## coverage    fail unless the pure core's tests reach every branch of it
coverage: setup-test
	@$(PYTHON) -m coverage run --source=admission -m pytest -q tests/admission
	@$(PYTHON) -m coverage report --show-missing --skip-covered --fail-under=100

## mutation    change the deciding modules in every small way; fail unless the pure core's tests notice 90 % of it
mutation: setup-test
	@tools/mutation.sh

## frames      show the reader FRAMES=3000 mixed, empty and hostile pictures; a campaign is FRAMES=1000000
frames: setup-test
	@$(PYTHON) -m tests.scanner.campaign --frames $(or $(FRAMES),3000)

## faults      kill, stop, cut off and fill up agent, broker and centre while visitors come: AGENT_KILLS=5 BROKER_KILLS=5 CENTRE_KILLS=5 OTHERS=2
faults: setup-test
	@$(PYTHON) -m tests.faults.campaign --agent-kills $(or $(AGENT_KILLS),5) \
		--broker-kills $(or $(BROKER_KILLS),5) --centre-kills $(or $(CENTRE_KILLS),5) --others $(or $(OTHERS),2)

## fuzz        fuzz everything between frame and credential for MINUTES=1
fuzz: setup-test
	@$(PYTHON) -m tests.scanner.fuzz --minutes $(or $(MINUTES),1)

## check       lint, format, types, import directions
check: setup-test
	@echo "check: ruff" && .venv/bin/ruff check && .venv/bin/ruff format --check
	@echo "check: mypy" && .venv/bin/mypy
	@echo "check: import directions" && $(PYTHON) -m pytest -p no:randomly tests/test_architecture.py

## bench       run every benchmark; each ends with one JSON object
bench: $(BENCHES)

## bench-NAME  run bench/NAME.py
$(BENCHES): bench-%: setup
	@echo "bench: $*"
	@$(PYTHON) -I -m bench.$*

## lock        compile the locks from pyproject.toml; UPGRADE=1 takes the newest versions that fit
lock: setup
	@tools/lock.sh $(if $(UPGRADE),--upgrade)

## install     lay out programs and systemd units below DESTDIR and PREFIX; docs/INSTALL.md says how to go on
install:
	@rm -rf $(addprefix $(APP)/,$(PACKAGES))
	@umask 022 && find $(PACKAGES) -name __pycache__ -prune -o -type f -exec install -D -m 644 {} $(APP)/{} \;
	@install -m 644 LICENSE pyproject.toml requirements.lock requirements-bootstrap.lock requirements-central.lock $(APP)
	@install -d -m 755 $(LIB)/systemd/system $(LIB)/sysusers.d $(LIB)/tmpfiles.d
	@for unit in $(UNITS); do \
		sed 's|/usr/local/|$(PREFIX)/|g' systemd/$$unit >$(LIB)/systemd/system/$$unit || exit; \
		chmod 644 $(LIB)/systemd/system/$$unit; \
	done
	@install -m 644 systemd/sysusers.d/scenic-gate.conf $(LIB)/sysusers.d
	@install -m 644 systemd/tmpfiles.d/scenic-gate.conf $(LIB)/tmpfiles.d
	@install -d -m 755 $(SHARE)/scenic-gate/mosquitto $(SHARE)/doc/scenic-gate
	@install -m 644 config/profiles/lane.toml systemd/central.toml config/policies/default.toml $(SHARE)/scenic-gate
	@install -m 644 systemd/mosquitto/scenic-gate.conf $(SHARE)/scenic-gate/mosquitto
	@install -D -m 644 systemd/grafana/scenic-gate.json $(SHARE)/scenic-gate/grafana/scenic-gate.json
	@install -D -m 644 systemd/prometheus/scenic-gate.rules.yml $(SHARE)/scenic-gate/prometheus/scenic-gate.rules.yml
	@install -m 644 docs/INSTALL.md $(SHARE)/doc/scenic-gate
	@echo "installed below $(DESTDIR)$(PREFIX); docs/INSTALL.md says how to go on"

## clean       remove everything that these commands made in this folder
clean:
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage var node_modules gate_agent/web/handheld/vendor central/phone/vendor
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
