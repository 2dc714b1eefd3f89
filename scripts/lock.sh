#!/usr/bin/env bash
# Locked requirements with hashes and without any index address.
set -euo pipefail
cd "$(dirname "$0")/.."
compile=(.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes
         --no-emit-index-url --no-header --no-annotate)
"${compile[@]}" pyproject.toml --group local -o requirements/run.txt
"${compile[@]}" pyproject.toml --group dev -c requirements/run.txt -o requirements/dev.txt
