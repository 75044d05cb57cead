"""How things are said at a terminal: durations, bars, and text that came from elsewhere."""

from __future__ import annotations

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_ONE_DIGIT = 10


def shown(text: str, width: int = 200) -> str:
    """Text from outside as it may be written to a terminal.

    Control characters, and those that turn the direction of writing, are spelled out.
    """
    safe = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text[: width + 1]
    )
    return safe if len(safe) <= width else safe[: width - 1] + "…"


def seconds(value: float | None) -> str:
    """A duration in a few letters; nothing for None."""
    if value is None:
        return ""
    sign, value = ("-", -value) if value < 0 else ("", value)
    if value < 1:
        text = f"{value * 1000:.0f} ms"
    elif value < _ONE_DIGIT:
        text = f"{value:.1f} s"
    elif value < _MINUTE:
        text = f"{value:.0f} s"
    elif value < _HOUR:
        text = f"{int(value) // _MINUTE}m{int(value) % _MINUTE:02d}s"
    elif value < _DAY:
        text = f"{int(value) // _HOUR}h{int(value) % _HOUR // _MINUTE:02d}m"
    else:
        text = f"{int(value) // _DAY}d{int(value) % _DAY // _HOUR:02d}h"
    return sign + text


def count(value: int) -> str:
    """A number with its thousands apart."""
    return f"{value:,}".replace(",", " ")


def rate(value: float) -> str:
    """A number for each second."""
    return f"{value:.1f}" if value < 100 else count(round(value))  # noqa: PLR2004 - three digits


def bar(fraction: float, width: int) -> str:
    """A bar of `width` letters, filled by eighths."""
    eighths = round(max(0.0, min(1.0, fraction)) * width * 8)
    full, rest = divmod(eighths, 8)
    text = "█" * full + (_EIGHTHS[rest] if rest else "")
    return text.ljust(width)


def clock(label: str | None) -> str:
    """The time of day of an RFC 3339 label, to the millisecond (UTC)."""
    return "" if label is None else shown(label[11:23])
