"""The one text of an answer, for forms that know no refusals of their own."""

from __future__ import annotations

from watchword.gateway.call import Said, SaidPiece


def text_of(said: Said) -> str:
    """The content of an answer, or its refusal where it has none."""
    return said.content or said.refusal or ""


class OneText:
    """The same in pieces: whichever of the two comes first. The leak filter has read each by itself, not one in the other."""

    def __init__(self) -> None:
        self.refused: bool | None = None

    def of(self, piece: SaidPiece) -> str:
        """What the piece adds."""
        if self.refused is None and (piece.content or piece.refusal):
            self.refused = not piece.content
        return piece.refusal if self.refused else piece.content
