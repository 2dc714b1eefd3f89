"""Model permissions on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.grant import PermissionMode
from org_service.tables import ModelPermission
from org_service.wire import Body, ModelName, View


class PermissionsUpdate(Body):
    """Names or aliases of models; kept as canonical ids."""

    mode: PermissionMode
    model_ids: Annotated[list[ModelName], Field(max_length=1000)]


class PermissionsView(View):
    object: str
    mode: str
    model_ids: list[str]

    @classmethod
    def of(cls, row: ModelPermission) -> PermissionsView:
        return cls(object=f"{row.level_kind}.model_permissions", mode=row.mode, model_ids=row.model_ids)
