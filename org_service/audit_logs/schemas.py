"""Audit events on the wire: besides the fields below, each carries its payload under the name of its type."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from org_service.tables import AuditLog
from org_service.wire import Identified, Timestamp


class AuditLogView(Identified):
    model_config = ConfigDict(extra="allow")

    type: str
    effective_at: Timestamp
    project: dict[str, str] | None
    actor: dict[str, Any] | None

    @classmethod
    def of(cls, row: AuditLog, project_names: dict[str, str]) -> AuditLogView:
        project = None
        if row.project_id is not None:
            project = {"id": row.project_id, "name": project_names.get(row.project_id, "")}
        payload: dict[str, Any] = {row.type: row.payload}
        return cls(
            id=row.id, type=row.type, effective_at=row.effective_at, project=project, actor=_actor(row), **payload
        )


def _actor(row: AuditLog) -> dict[str, Any] | None:
    """None: the system itself, when an organization was founded."""
    if row.actor_key_id is None:
        return None
    user = {"id": row.actor_user_id, "email": row.actor_email}
    return {"type": "api_key", "api_key": {"id": row.actor_key_id, "type": "user", "user": user}}
