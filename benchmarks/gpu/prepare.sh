#!/usr/bin/env bash
# Prepare what a GPU machine without a network lacks: benchmarks/gpu/prepare.sh
# Two archives in parts that are carried one by one, into the ignored folder .gpu/:
#   site/part.*    wheels for Python 3.12 on Linux (Dask, ffmpeg, PyAV, …), about 130 MB
#   rapids/part.*  a slim RAPIDS for CUDA 13 and Hopper, about 180 MB; OVERLAY_BUILDER=… names the program that builds it
#   parts.txt      their SHA-256, which `unpack.py` checks
# An archive that is there already is not made again; take its folder away for that.
set -euo pipefail
cd "$(dirname "$0")/../.."
builder=${OVERLAY_BUILDER:-../shared/gpu/build_overlay.py}
part_mb=${PART_MB:-56}
python=${PYTHON:-python3}
# What the machine has: torch, CuPy, pytest, and of what this package needs these.
there='click cloudpickle fsspec jinja2 msgpack numpy packaging pandas psutil pyarrow pyyaml rich scipy sortedcontainers
threadpoolctl toolz torch typer'
# What it lacks. tests/test_gpu_benchmarks.py holds both lists against the dependencies.
wheels='av braceexpand cffi cryptography dask decord distributed flatbuffers imageio-ffmpeg locket onnxruntime partd protobuf pycparser tblib
tornado webdataset xxhash zict zlib-ng'

# They draw pictures, which no benchmark needs.
pictures='bokeh vl-convert-python'

pinned() { # pinned NAME: the version that the tests ran with, where there is one
  grep -i "^$1==" constraints.txt || echo "$1"
}

# Archives are made in .gpu/work/ and moved when they are whole, so one that was interrupted is made again.
if [ ! -e .gpu/site ]; then
  rm -rf .gpu/work/site && mkdir -p .gpu/work/site/wheels .gpu/work/site/tree .gpu/work/site/parts
  platforms=()
  for tag in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1; do
    platforms+=(--platform "${tag}_x86_64")
  done
  for name in $wheels; do
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" \
      --platform any -d .gpu/work/site/wheels "$(pinned "$name")"
  done
  for wheel in .gpu/work/site/wheels/*.whl; do
    "$python" -m zipfile -e "$wheel" .gpu/work/site/tree
  done
  chmod +x .gpu/work/site/tree/imageio_ffmpeg/binaries/ffmpeg-*
  tar -C .gpu/work/site/tree -cf - . | xz -2 -T2 | split -b "${part_mb}m" -d -a 1 - .gpu/work/site/parts/part.
  mv .gpu/work/site/parts .gpu/site
fi
if [ ! -e .gpu/rapids ]; then
  if [ -e "$builder" ]; then
    mkdir -p .gpu/work
    "$python" "$builder" .gpu/work/rapids --part-mb "$part_mb"
    mkdir .gpu/work/rapids/parts
    mv .gpu/work/rapids/part.? .gpu/work/rapids/parts
    mv .gpu/work/rapids/parts .gpu/rapids
  else
    echo "there is no $builder: the parts rapids, workflow and files are left out there (OVERLAY_BUILDER=… names it)" >&2
  fi
fi
sha256sum .gpu/*/part.? >.gpu/parts.txt
du -ch .gpu/*/part.?
"$python" -m benchmarks.gpu.calls
