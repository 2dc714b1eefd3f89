"""Settings from the environment: one rule for every service, under each one's own prefix.

A name under the prefix that is no setting is an error, most likely of typing; what Kubernetes injects for a
Service of that name is none of ours. An empty value counts as not given. What is wrong is named, never shown: a
value may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

Settings = TypeVar("Settings", bound=BaseModel)
_INJECTED: Final = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")


class ConfigurationError(ValueError):
    """The service cannot be configured so; the message names each setting that is wrong, and why."""


def load_settings(kind: type[Settings], prefix: str, environ: Mapping[str, str]) -> Settings:
    """The settings that `environ` gives under `prefix`, in any case; raises ConfigurationError."""
    given = {name.upper(): value for name, value in environ.items() if name.upper().startswith(prefix)}
    known = {f"{prefix}{field.upper()}": field for field in kind.model_fields}
    unknown = sorted(name for name in given.keys() - known if not _is_injected(name[len(prefix) :], given[name]))
    if unknown:
        raise ConfigurationError(f"no such setting: {', '.join(unknown)}")
    try:
        return kind(**{known[name]: value for name, value in given.items() if name in known and value})
    except ValidationError as error:
        raise ConfigurationError(_explained(error)) from None


def shown(settings: BaseModel) -> str:
    """For people: JSON, in which secrets are stars."""
    return settings.model_dump_json(indent=2)


def _is_injected(name: str, value: str) -> bool:
    """`name` is without the prefix. One that merely ends in PORT must hold an address: LISTEM_PORT=80 is a typing
    error."""
    is_address = f"_{name}".endswith("_PORT") and _ADDRESS.match(value) is not None
    return is_address or _INJECTED.fullmatch(name) is not None


def _explained(error: ValidationError) -> str:
    reasons = ((".".join(map(str, each["loc"])), each["msg"]) for each in error.errors())
    return "; ".join(f"{field}: {reason}" if field else reason for field, reason in reasons)
