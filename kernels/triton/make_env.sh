#!/usr/bin/env bash
# .venv-torch: the CPU build of torch, Triton and the tools of tests/kernels. No GPU and no vLLM.
# Run again at no cost; it is brought up to date when the lock or this file changes.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=.venv-torch
torch=torch==2.13.0+cpu
python=${KERNELS_PYTHON:-python3.11}
stamp=$venv/.made-from
wanted=$(cat requirements/kernels.txt "$0" | sha256sum)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

fail() { echo "$*" >&2; exit 1; }
command -v "$python" >/dev/null || fail "The kernels' lock is for Python 3.11; set KERNELS_PYTHON to its path."

echo "Installing torch for the CPU and Triton into $venv (about a minute, 2 GB) ..."
[ -x $venv/bin/python ] || "$python" -m venv $venv
pip() { $venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }

pip install --no-deps --require-hashes -r requirements/kernels.txt
pip install --no-deps ${TORCH_CPU_INDEX:+--index-url "$TORCH_CPU_INDEX"} "$torch" 2>$venv/torch.log ||
  fail "No CPU build of PyTorch ($torch) was found: set TORCH_CPU_INDEX to the address of PyTorch's CPU wheel index."
echo "$wanted" >"$stamp"
