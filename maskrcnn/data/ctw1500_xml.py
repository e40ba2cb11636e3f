"""The training labels of CTW1500, which are XML:

    <Annotations>
      <image file="0200.jpg">
        <box height="197" left="131" top="48" width="400">
          <label>GOLDEN BAKERY</label>
          <segs>131,58,208,49, ... 28 integers: along the top, back along the bottom</segs>
          <pts x="150" y="95"/> ... one for each character
        </box>
      </image>
    </Annotations>

XML can ask for far more than it holds: entities that stand for entities ("a billion laughs"), entities that stand for
other files. Both need a document type declaration, which no label file has; one that has it is refused. The parser
keeps no tree, so a file takes no more memory than its text, and nesting does no harm. XML can also hide what it holds:
elements in a comment would be left out without a word, and are refused, too.
"""

from __future__ import annotations

from xml.parsers import expat

from maskrcnn.data.annotation_files import DONT_CARE, INTEGER, Word, corners, shortened

_NUMBERS = 28
_PARENTS = {
    "Annotations": [],
    "image": ["Annotations"],
    "box": ["Annotations", "image"],
    "label": ["Annotations", "image", "box"],
    "segs": ["Annotations", "image", "box"],
    "pts": ["Annotations", "image", "box"],
}
"""Of each element: those that must be around it, from the outside in."""


def parse_ctw1500_xml(content: bytes, name: str) -> list[Word]:
    """The lines of text in a label file; the line of a word is the one on which its box begins.

    Raises ValueError as `name:line: found ..., expected ...` for XML that is not well formed, another encoding than
    UTF-8, a document type declaration, other elements than above, elements in a comment or in a processing instruction,
    a box without a label or without 28 integers.
    """
    reader = _Reader(name)
    reader.parser.buffer_text = True
    try:
        reader.parser.Parse(content, True)
    except expat.ExpatError as error:
        what = expat.ErrorString(error.code)
        raise ValueError(f"{name}:{error.lineno}: found broken XML ({what}), expected a complete file") from None
    return reader.words


class _Reader:
    """What the parser tells as it goes through a file, and where it is: the names of the elements around it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.words: list[Word] = []
        self.around: list[str] = []
        self.box_line = 0
        self.texts: dict[str, list[str]] = {}
        # The encoding is said here, so that what a file declares has no effect.
        self.parser = expat.ParserCreate(encoding="utf-8")
        self.parser.StartDoctypeDeclHandler = self.refuse_declaration
        self.parser.CommentHandler = self.refuse_hidden
        self.parser.ProcessingInstructionHandler = self.refuse_hidden
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text

    def error(self, what: str, line: int | None = None) -> ValueError:
        return ValueError(f"{self.name}:{line or self.parser.CurrentLineNumber}: {what}")

    def refuse_declaration(self, *declared: object) -> None:
        raise self.error("found a document type declaration, expected none: labels need no entities")

    def refuse_hidden(self, *texts: str) -> None:
        if any("<" in text for text in texts):
            raise self.error("found elements in a comment, expected none: they would be missing")

    def start(self, element: str, attributes: dict[str, str]) -> None:
        if _PARENTS.get(element) != self.around:
            where = f" in {self.around[-1]}" if self.around else ""
            raise self.error(f"found element {shortened(element)}{where}, expected Annotations > image > box > segs")
        if element == "box":
            self.box_line, self.texts = self.parser.CurrentLineNumber, {}
        elif element in ("label", "segs"):
            if element in self.texts:
                raise self.error(f"found a second {element} in a box, expected one")
            self.texts[element] = []
        self.around.append(element)

    def text(self, text: str) -> None:
        if self.around and self.around[-1] in ("label", "segs"):
            self.texts[self.around[-1]].append(text)
        elif text.strip():
            found = shortened(text.strip())
            raise self.error(f"found {found} in {self.around[-1]}, expected text in label and segs only")

    def end(self, element: str) -> None:
        self.around.pop()
        if element == "box":
            self.words.append(self.word())

    def word(self) -> Word:
        for element in ("label", "segs"):
            if element not in self.texts:
                raise self.error(f"found a box without {element}, expected one", self.box_line)
        parts = "".join(self.texts["segs"]).split(",")
        wrong = [part for part in parts if not INTEGER.fullmatch(part)]
        if wrong or len(parts) != _NUMBERS:
            found = shortened(wrong[0]) if wrong else f"{len(parts)} integers"
            raise self.error(f"found {found} in segs, expected 28 integers of at most 6 digits", self.box_line)
        label = "".join(self.texts["label"])
        return Word(self.box_line, corners(parts), label, label == DONT_CARE)
