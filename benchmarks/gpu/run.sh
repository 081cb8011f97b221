#!/usr/bin/env bash
# The GPU benchmarks and tests in parts of at most three minutes: benchmarks/gpu/run.sh [PART | PART:STEP …]
# `--list` prints the parts, `--rehearsal` runs them without a GPU. Results go to $OUT, else to gpu-results/.
# PYTHON=… names the interpreter (by default .venv-rapids of `make test-rapids`, else python3). Archives of `prepare.sh` are
# unpacked first, and are on its path.
set -euo pipefail
cd "$(dirname "$0")/../.."
stash=${GPU_STASH:-${TMPDIR:-/tmp}/curator-gpu}
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  if [ -x .venv-rapids/bin/python ]; then PYTHON=.venv-rapids/bin/python; fi
fi
PYTHONPATH=$PWD "$PYTHON" -m benchmarks.gpu.unpack
path=$PWD
for folder in "$stash/rapids" "$stash/site"; do
  if [ -e "$folder/.whole" ]; then path=$folder:$path; fi
done
export PYTHONPATH="$path${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" -m benchmarks.gpu.run "$@"
