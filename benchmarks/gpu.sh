#!/usr/bin/env bash
# benchmarks.gpu on a bare machine: CUDA, a Python with torch, no network, nothing installed. `benchmarks/gpu.sh --help`
# shows the options; docs/benchmarks.md shows a call.
#
# PYTHON is the interpreter, python3 by default. WHEELS is a folder of wheels for what that Python lacks; they are
# unpacked beside the results of runs and installed nowhere.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH=$root/.links:$root
if [ -n "${WHEELS:-}" ]; then
  site=$root/memaudit-runs/gpu/site
  "${PYTHON:-python3}" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$site" "$WHEELS"/*.whl
  PYTHONPATH+=:$site
fi
exec "${PYTHON:-python3}" -m benchmarks.gpu "$@"
