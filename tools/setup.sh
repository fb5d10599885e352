#!/usr/bin/env bash
# Install what is missing, and only that. Safe to repeat; a repeated run takes a blink.
# Usage: tools/setup.sh run | test
#   run   what the product needs: libzbar, Mosquitto, the locked packages of box and centre in .venv
#   test  that, and what checks and tests need: Chromium, Chinese fonts, the locked development packages
set -Eeuo pipefail
cd "$(dirname "$0")/.."

readonly venv=.venv
readonly stamps=$venv/stamps
readonly run_packages=(libzbar0 mosquitto)
readonly rtsp_packages=(gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,ugly} python3-gi) # an RTSP camera to test with
readonly broker_packages=(nats-server rabbitmq-server) # what sites may have instead of Mosquitto
readonly test_packages=(chromium fonts-noto-cjk libatomic1 systemd "${rtsp_packages[@]}" "${broker_packages[@]}") # libatomic1: the driver of Playwright; systemd: systemd-analyze

step="start"
say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: FAILED: %s\n' "$*" >&2; trap - ERR; exit 1; }
trap 'fail "step \"$step\" (line $LINENO): $BASH_COMMAND"' ERR

# --- system packages -------------------------------------------------------------------------------------------------

# Names of installed packages and of what they provide (libzbar0t64 provides libzbar0), one per line.
installed_packages() {
    dpkg-query --show --showformat '${db:Status-Abbrev}|${Package}, ${Provides}\n' \
        | sed -n 's/^.i |//p' | tr ',' '\n' | sed -E 's/^ +//; s/ .*//'
}

missing_packages() {
    local installed name
    installed=$(installed_packages)
    for name in "$@"; do
        grep -qxF -- "$name" <<<"$installed" || printf '%s\n' "$name"
    done
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@"
}

# Under systemd a freshly installed broker would run as a service; this project starts its own.
stop_installed_brokers() {
    local name
    [[ -d /run/systemd/system ]] || return 0
    for name in mosquitto "${broker_packages[@]}"; do
        [[ " $* " != *" $name "* ]] || as_root systemctl disable --now "$name.service"
    done
}

ensure_system_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [[ ${#missing[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null || fail "missing: ${missing[*]}; this is not Debian, install them by hand"
    if [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null; then
        fail "missing system packages: ${missing[*]}
setup: this user is not root and there is no sudo; run as root:
    apt-get update && apt-get install --no-install-recommends -y ${missing[*]}"
    fi
    say "system packages: ${missing[*]}"
    step="apt-get update"
    apt_get update -qq
    step="apt-get install ${missing[*]}"
    apt_get install -qq -y --no-install-recommends "${missing[@]}"
    step="stop the brokers' system services"
    stop_installed_brokers "${missing[@]}"
}

# --- Python ----------------------------------------------------------------------------------------------------------

# The first interpreter that can make a venv with pip in it; Debian's python3 alone cannot (no ensurepip).
find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        if "$candidate" -I -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# What a stamp stands for: the interpreter, this folder (the editable install names it) and the given files.
fingerprint() {
    { "$python" -I -c 'import sys; print(sys.version, sys.base_prefix)'; pwd; cat -- "$@"; } | sha256sum
}

# Run the steps after the stamp's name unless they have already run for these files.
unless_stamped() {
    local name=$1 files=$2 wanted
    shift 2
    # shellcheck disable=SC2086  # a list of file names without spaces
    wanted=$(fingerprint $files)
    [[ ! -f $stamps/$name || $(<"$stamps/$name") != "$wanted" ]] || return 0
    "$@" || return
    mkdir -p "$stamps"
    printf '%s\n' "$wanted" >"$stamps/$name"
}

create_venv() {
    step="create $venv with $python"
    say "Python: $("$python" --version) in $venv"
    "$python" -I -m venv --clear "$venv"
    step="install uv from requirements-bootstrap.lock"
    "$venv/bin/python" -I -m pip install --quiet --disable-pip-version-check \
        --require-hashes --only-binary :all: -r requirements-bootstrap.lock
}

install_lock() {
    local lock=$1
    step="install $lock"
    say "Python packages: $lock"
    "$venv/bin/uv" pip install --python "$venv/bin/python" --require-hashes --no-build -r "$lock"
}

install_project() {
    step="install the project into $venv"
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --offline --no-deps --no-build-isolation --editable .
}

# --- JavaScript ------------------------------------------------------------------------------------------------------

# What the handheld's page reads codes with, and what the phone's page draws them with, from npm's lock to where the
# box and the centre serve it.
install_pages() {
    local npm=npm from=node_modules/zxing-wasm/dist to=gate_agent/web/handheld/vendor phone=central/phone/vendor
    if ! command -v npm >/dev/null; then
        install_lock requirements-node.lock
        npm=$PWD/$venv/bin/npm
    fi
    step="npm ci"
    say "JavaScript packages: package-lock.json"
    PATH="$PWD/$venv/bin:$PATH" "$npm" ci --silent || return 1
    rm -rf "$to"
    install -D -m 644 "$from/es/reader/index.js" "$to/reader/index.js"
    install -m 644 "$from/es/share.js" "$from/reader/zxing_reader.wasm" node_modules/zxing-wasm/LICENSE "$to"
    rm -rf "$phone"
    install -D -m 644 node_modules/lean-qr/index.mjs "$phone/lean-qr.mjs"
    install -m 644 node_modules/lean-qr/LICENSE "$phone"
}

# ---------------------------------------------------------------------------------------------------------------------

purpose=${1:-}
[[ $purpose == run || $purpose == test ]] || fail "usage: tools/setup.sh run | test"
step="wait for another set-up in this folder"
exec 9<"$0"
flock 9

step="check system packages"
packages=("${run_packages[@]}")
[[ $purpose == run ]] || packages+=("${test_packages[@]}")
find_python >/dev/null || packages+=(python3-venv)
ensure_system_packages "${packages[@]}"

step="find Python 3.11 or newer"
python=$(find_python) || fail "no Python 3.11 or newer with ensurepip"
unless_stamped venv "requirements-bootstrap.lock" create_venv
unless_stamped box "requirements.lock" install_lock requirements.lock
unless_stamped central "requirements-central.lock" install_lock requirements-central.lock
[[ $purpose == run ]] || unless_stamped dev "requirements-dev.lock" install_lock requirements-dev.lock
unless_stamped project "pyproject.toml" install_project
if [[ $purpose == run ]]; then
    unless_stamped pages "package-lock.json" install_pages ||
        say "no codes from a phone's camera, and none on the phone's page: npm could not install zxing-wasm and lean-qr"
else
    unless_stamped pages "package-lock.json" install_pages
fi
say "ready ($purpose)"
