"""Who did what: one row per write, in the transaction of the write, named as OpenAI's audit events are."""

from __future__ import annotations

from typing import Any

from org_service.ids import new_id
from org_service.tables import AuditLog
from org_service.transaction import Transaction


def record(
    transaction: Transaction,
    event_type: str,
    resource_id: str,
    *,
    project_id: str | None = None,
    data: dict[str, Any] | None = None,
    changes: dict[str, Any] | None = None,
) -> None:
    """`data` describes what was created, `changes` what was asked to change. Neither may hold a secret."""
    caller = transaction.caller
    payload: dict[str, Any] = {"id": resource_id}
    if data is not None:
        payload["data"] = data
    if changes is not None:
        payload["changes_requested"] = changes
    transaction.session.add(
        AuditLog(
            id=new_id("audit_log"),
            organization_id=transaction.organization_id,
            type=event_type,
            effective_at=transaction.now,
            actor_key_id=caller.key_id or None,
            actor_user_id=caller.user_id or None,
            actor_email=caller.email or None,
            project_id=project_id,
            resource_id=resource_id,
            payload=payload,
        )
    )
