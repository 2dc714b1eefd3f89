"""python -m tern"""

from __future__ import annotations

from tern.cli import app

if __name__ == "__main__":
    app(prog_name="tern")
