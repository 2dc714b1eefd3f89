"""Which of the four levels a limit or permission stands on."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.change import Change, ChangeKind
from contracts.grant import LevelKind

_CHANGE_KINDS = {
    LevelKind.ORGANIZATION: ChangeKind.ORGANIZATION,
    LevelKind.PROJECT: ChangeKind.PROJECT,
    LevelKind.USER: ChangeKind.USER,
    LevelKind.KEY: ChangeKind.KEY,
}


@dataclass(frozen=True, slots=True)
class Level:
    """`id` is an id that the caller has seen to exist in the transaction's organization."""

    kind: LevelKind
    id: str

    def change(self) -> Change:
        """What routers hear when the grants below this level have to be asked for again."""
        return Change(kind=_CHANGE_KINDS[self.kind], id=self.id)
