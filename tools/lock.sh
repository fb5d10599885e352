#!/usr/bin/env bash
# Compile the dependency groups of pyproject.toml into locks that hold hashes and no addresses.
# Usage: tools/lock.sh [--upgrade]    A plain run keeps every version that still fits.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=.venv/bin/uv
[[ -x $uv ]] || { echo "lock: run 'make setup' first (no $uv)" >&2; exit 1; }

compile() {
    local group=$1 lock=$2
    shift 2
    echo "lock: $lock"
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --group "pyproject.toml:$group" "$@" --output-file "$lock" >/dev/null
}

# The development lock holds everything, so the others are cut from its versions.
compile dev requirements-dev.lock "$@"
compile box requirements.lock --constraints requirements-dev.lock
compile central requirements-central.lock --constraints requirements-dev.lock
compile mutation requirements-mutation.lock --constraints requirements-dev.lock "$@"
compile node requirements-node.lock "$@"
compile bootstrap requirements-bootstrap.lock --constraints requirements-dev.lock "$@"

if grep -nE '://|^-' requirements*.lock; then
    echo "lock: the lines above hold an address or an option; locks must not" >&2
    exit 1
fi
