#!/usr/bin/env bash
# The GPU benchmarks and tests in parts of at most three minutes: benchmarks/gpu/run.sh [PART | PART:STEP …]
# `--list` prints the parts, `--rehearsal` runs them without a GPU. Results go to $OUT, else to gpu-results/.
# PYTHON=… names the interpreter (by default .venv-rapids of `make test-rapids`, else python3). With plain python3, archives of
# `prepare.sh` are unpacked first, and are on its path; with another interpreter only where GPU_STASH=… names a folder for them.
set -euo pipefail
cd "$(dirname "$0")/../.."
stash=${GPU_STASH:-}
if [ -z "${PYTHON:-}" ]; then
  PYTHON=.venv-rapids/bin/python
  if [ ! -x $PYTHON ]; then PYTHON=python3 stash=${stash:-${TMPDIR:-/tmp}/curator-gpu}; fi
fi
path=$PWD
if [ -n "$stash" ]; then
  export GPU_STASH=$stash
  PYTHONPATH=$PWD "$PYTHON" -m benchmarks.gpu.unpack || echo 'no archive is unpacked: what needs one is left out' >&2
  for folder in "$stash/rapids" "$stash/site"; do
    if [ -e "$folder/.whole" ]; then path=$folder:$path; fi
  done
fi
export PYTHONPATH="$path${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" -m benchmarks.gpu.run "$@"
