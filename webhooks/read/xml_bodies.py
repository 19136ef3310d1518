"""Parse XML into the same documents as JSON."""

import re
import sys
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from webhooks.limits import MAX_DEPTH
from webhooks.read.bodies import BROKEN, BYTE_ORDER_MARK, Unparseable, add_field

NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
# Characters that XML 1.0 forbids, even as a reference: https://www.w3.org/TR/xml/#charsets
FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
CDATA = re.compile(r"(<!\[CDATA\[.*?\]\]>)", re.DOTALL)
AMPERSAND = re.compile(r"&(?:#(?P<decimal>[0-9]+);|#x(?P<hexadecimal>[0-9a-fA-F]+);|(?P<name>\w+);)?")
XML_NAMES = ("amp", "lt", "gt", "quot", "apos")
XML_ENCODING = re.compile(rb"\s*<\?xml[^>]*encoding=[\"']([\w.-]+)")
XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")


def parse_xml(raw: bytes) -> dict[str, object]:
    """
    Return the elements in *raw* by their names without namespaces: as texts, objects, None for nil, or lists.

    Attributes become `@name` keys of elements that have child elements or no text.
    Raises *Unparseable* for a body that is not XML, and for any DTD or entity, because no sender needs one.
    """
    try:
        root = _parse_elements(raw)
    except (ParseError, ValueError, LookupError):
        try:
            root = _parse_elements(_replace_forbidden(raw))
        except (ParseError, ValueError, LookupError) as error:
            raise Unparseable(f"The body cannot be read as XML: {error}.") from error
    return {_strip_namespace(root.tag): _convert_element(root, depth=1)}


def _parse_elements(raw: bytes) -> Element:
    try:
        return fromstring(raw, forbid_dtd=True)
    except DefusedXmlException as error:
        raise Unparseable("The body has a DTD or an entity, which is not read.") from error


def _replace_forbidden(raw: bytes) -> bytes:
    """Return XML with U+FFFD in place of each forbidden character, and with every stray `&` escaped."""
    declared = XML_ENCODING.match(raw)
    encoding = declared[1].decode() if declared else "utf-8"
    text = FORBIDDEN.sub(BROKEN, raw.decode(encoding, errors="replace").removeprefix(BYTE_ORDER_MARK))
    sections = CDATA.split(text)
    sections[::2] = [AMPERSAND.sub(_replace_reference, section) for section in sections[::2]]
    return XML_DECLARATION.sub("", "".join(sections)).encode()


def _replace_reference(match: re.Match[str]) -> str:
    number = match["decimal"] or match["hexadecimal"]
    if number is None:
        return match[0] if match["name"] in XML_NAMES else f"&amp;{match[0][1:]}"
    code = int(number, 10 if match["decimal"] else 16) if len(number) < 10 else sys.maxunicode + 1
    is_allowed = code <= sys.maxunicode and not FORBIDDEN.fullmatch(chr(code))
    return match[0] if is_allowed else BROKEN


def find_xml_text(raw: bytes, name: str) -> str | None:
    """Return the text of the first element with this name, or None. The body need not be well-formed XML."""
    match = re.search(rf"<(?:[\w.-]+:)?{re.escape(name)}\s*>([^<]*)<".encode(), raw)
    return match[1].decode(errors="replace").strip() if match else None


def _convert_element(element: Element, *, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise Unparseable(f"The body is nested more than {MAX_DEPTH} deep.")
    if element.get(NIL) in ("true", "1"):
        return None
    text = (element.text or "").strip()
    # An attribute with a namespace, such as xsi:type, does not make an empty element an object.
    attributes = {
        f"@{_strip_namespace(name)}": value
        for name, value in element.items()
        if len(element) or not name.startswith("{")
    }
    if not len(element) and (text or not attributes):
        return text
    fields: dict[str, object] = {**attributes}
    for child in element:
        add_field(fields, _strip_namespace(child.tag), _convert_element(child, depth=depth + 1))
    return fields


def _strip_namespace(tag: str) -> str:
    return tag.rpartition("}")[2]
