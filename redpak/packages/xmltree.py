"""Small XML documents as trees. Nothing is expanded or loaded: a document type declaration is refused."""

from __future__ import annotations

from redpak.errors import RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST = 32
MOST_ELEMENTS = 200_000


class Node:
    """An element: its name without a namespace, attributes, text and children."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.text = ""
        self.children: list[Node] = []

    def all(self, name: str) -> Iterator[Node]:
        """Return the children of that name."""
        return (child for child in self.children if child.name == name)

    def first(self, name: str) -> Node | None:
        """Return the first child of that name."""
        return next(self.all(name), None)

    def value(self, name: str) -> str:
        """Return the text of the first child of that name, '' without one."""
        found = self.first(name)
        return found.text.strip() if found else ""


def parse(data: bytes, *, what: str) -> Node:
    """Return the root element. Raises RedpakError for what is no well-formed, plain document."""
    from xml.parsers import expat

    top = Node("", {})
    stack = [top]
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(stack) > DEEPEST or count > MOST_ELEMENTS:
            raise RedpakError(f"{what} has too many elements")
        node = Node(name.rpartition(":")[2], attributes)
        stack[-1].children.append(node)
        stack.append(node)

    def end(_name: str) -> None:
        stack.pop()

    def text(piece: str) -> None:
        stack[-1].text += piece

    def doctype(*_: object) -> None:
        raise RedpakError(f"{what} declares a document type, which is refused")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)  # noqa: FBT003 - expat's own way
    except expat.ExpatError as error:
        raise RedpakError(
            f"{what} is no XML: {expat.ErrorString(error.code)} in line {error.lineno}"
        ) from None
    return top.children[0]
