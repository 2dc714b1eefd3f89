"""The first tables."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Statements are parted by blank lines, and sent one by one as the driver wants them."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n\n"):
        if statement.strip():
            op.execute(statement)
