"""Projects on the wire."""

from __future__ import annotations

from typing import Literal

from org_service.tables import Project
from org_service.wire import Body, Identified, Name, Timestamp


class ProjectCreate(Body):
    name: Name


class ProjectUpdate(Body):
    name: Name


class ProjectView(Identified):
    object: Literal["organization.project"] = "organization.project"
    name: str
    created_at: Timestamp
    archived_at: Timestamp | None
    status: Literal["active", "archived"]

    @classmethod
    def of(cls, project: Project) -> ProjectView:
        return cls(
            id=project.id,
            name=project.name,
            created_at=project.created_at,
            archived_at=project.archived_at,
            status="active" if project.archived_at is None else "archived",
        )
