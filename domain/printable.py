"""Escapes text from outside (ids, paths, header values, errors of brokers) for terminals.

A control character can move the cursor, recolour, rename or resize a terminal, and some make it
send input; a bidirectional control shows text in an order in which it is not written; a line feed
forges a line. Everything that Python does not call printable is escaped: the categories Cc, Cf,
Cs, Co, Cn, Zl, Zp, and Zs but for the space.
"""

from __future__ import annotations


def escaped(text: str) -> str:
    r"""The text with what is not printable as `\x1b`, `\u202e` or `\U000e0001`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def escaped_json(line: str) -> str:
    r"""The same for one line of JSON, which stays the same JSON.

    Encoders escape what is below U+0020, and leave DEL, C1, U+2028 and the bidirectional controls
    as they are. Outside of its strings JSON is ASCII, so that each of them is inside one.
    """
    if line.isascii() and "\x7f" not in line:  # as almost all are
        return line
    return "".join(each if each.isprintable() else _json_escape(each) for each in line)


def _json_escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFFFF:  # noqa: PLR2004 - the last of the plane in which one escape is enough
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def indented(text: str) -> str:
    """Several lines, each escaped and indented: none of them can pass for a line of the log."""
    return "".join(f"\n    {escaped(line)}" for line in text.split("\n"))
