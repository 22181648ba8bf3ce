"""An HTML page as a browser would take it apart: its elements, their attributes, and its text."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Elements, attributes and text; fails where a tag is left open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.open = list[str](), list[tuple[str, str | None]](), list[str]()
        self.texts = list[str]()
        self.feed(page)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        """All text outside of the style sheet."""
        return "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)
