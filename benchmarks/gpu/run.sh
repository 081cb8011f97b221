#!/usr/bin/env bash
# Run the GPU tests and all GPU benchmarks with one command, from the root of the repository:
#   benchmarks/gpu/run.sh [quick|full]
# Needs a Python that has this package and RAPIDS (PYTHON=…; by default .venv-rapids of `make test-rapids`, else python3).
# Results go to $OUT, else to gpu-results/: environment.txt, tests.txt, results.md and a log of each step. No step stops
# the others; the exit status is the number of steps that failed.
set -uo pipefail
cd "$(dirname "$0")/../.."
size=${1:-quick}
out=${OUT:-gpu-results}
scratch=${SCRATCH:-}
mkdir -p "$out"
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  if [ -x .venv-rapids/bin/python ]; then PYTHON=.venv-rapids/bin/python; fi
fi
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
failed=0

step() { # step NAME SECONDS COMMAND…
  local name=$1 limit=$2
  shift 2
  echo "== $name"
  if ! timeout "$limit" "$@" >"$out/$name.log" 2>&1; then
    failed=$((failed + 1))
    echo "   failed; the end of $out/$name.log:"
    tail -n 15 "$out/$name.log" | sed 's/^/   /'
  fi
}

{
  date -u +%FT%TZ
  nvidia-smi || echo "nvidia-smi is not there or does not answer"
  "$PYTHON" -m curator_dask doctor
  df -h . ; nproc
} >"$out/environment.txt" 2>&1
: >"$out/results.md"

step first-light 120 "$PYTHON" -c '
import cudf, cupy, numpy as np
from cuml.cluster import KMeans
print(cudf.Series([1, 2]).sum())
X = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)
print(KMeans(n_clusters=8, init=X[:8].copy(), n_init=1, random_state=42).fit(cupy.asarray(X)).inertia_)
print(KMeans(n_clusters=8, init=X[:8].copy(), n_init=1, random_state=42, device_buffer_samples=100).fit(X).inertia_)
'
step tests 600 "$PYTHON" -m pytest tests/gpu -rs -p no:cacheprovider
cp "$out/tests.log" "$out/tests.txt"
step workflow 300 "$PYTHON" -m benchmarks.gpu.workflow --out "$out/results.md"
step internvideo2 300 "$PYTHON" -m benchmarks.internvideo2 --device cuda
{ echo "## internvideo2 alone"; echo; cat "$out/internvideo2.log"; echo; } >>"$out/results.md"
step embed 400 "$PYTHON" -m benchmarks.gpu.embed --out "$out/results.md"
step pairwise 300 "$PYTHON" -m benchmarks.gpu.pairwise --out "$out/results.md"
if [ "$size" = full ]; then
  step kmeans-512 1800 "$PYTHON" -m benchmarks.gpu.kmeans --fit-only --rows 10000000 --dim 512 --out "$out/results.md"
  step kmeans-1536 1800 "$PYTHON" -m benchmarks.gpu.kmeans --fit-only --rows 4000000 --dim 1536 --out "$out/results.md"
  # A quarter of 4 million rows: three times 24.6 GB is more disk than many machines have to spare.
  step stages-1536 3600 "$PYTHON" -m benchmarks.gpu.kmeans --rows "${STAGE_ROWS:-1000000}" --dim 1536 \
    ${scratch:+--scratch "$scratch"} --out "$out/results.md"
else
  step kmeans-512 300 "$PYTHON" -m benchmarks.gpu.kmeans --fit-only --rows 1000000 --dim 512 --out "$out/results.md"
  step stages-1536 300 "$PYTHON" -m benchmarks.gpu.kmeans --rows 200000 --dim 1536 --clusters 200 \
    ${scratch:+--scratch "$scratch"} --out "$out/results.md"
fi
cat "$out/results.md"
tail -n 3 "$out/tests.txt"
echo "$failed steps failed; results are in $out"
exit "$failed"
