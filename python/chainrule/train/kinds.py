"""The kinds of values that a setting can have: read from a flag's text or a file's value, written to a file.

A file's value is what TOML and JSON share: a string, an integer, a float, a boolean or a list. Ranges are
left to `settings`.
"""

from __future__ import annotations

from typing import Any

from chainrule.train.errors import SettingsError


def shown(value: Any) -> str:
    """The value as a line of an error message holds it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no integer of over 4,300 digits
        return "a value too long to write"
    return text if len(text) <= 80 else text[:77] + "..."


class Kind:
    """One kind of value. `name` stands in error messages: 'epochs: 2.5 is no integer'."""

    name = "value"

    def from_text(self, text: str) -> Any:
        """The value that a flag's text means; ValueError where it means none."""
        raise NotImplementedError

    def from_file(self, value: Any) -> Any:
        """The value that a file's value means; ValueError where it means none."""
        raise NotImplementedError

    def to_file(self, value: Any) -> Any:
        """What a file holds for the value: `from_file` undoes it."""
        return value

    def read(self, setting: str, value: Any) -> Any:
        """`from_file`, with an error that names the setting."""
        try:
            return self.from_file(value)
        except ValueError:
            raise SettingsError(f"{setting}: {shown(value)} is no {self.name}") from None


class Integer(Kind):
    name = "integer"

    def from_text(self, text):
        return int(text)

    def from_file(self, value):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError
        return value


class Number(Kind):
    name = "number"

    def from_text(self, text):
        return float(text)

    def from_file(self, value):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        try:
            return float(value)
        except OverflowError:  # an integer beyond a float's range
            raise ValueError from None


class Text(Kind):
    name = "text (at least one character, in UTF-8)"

    def from_text(self, text):
        # Files hold UTF-8, and no path has a NUL in it. An encoding error is a ValueError.
        if "\0" in text or not text.encode("utf-8"):
            raise ValueError
        return text

    def from_file(self, value):
        if not isinstance(value, str):
            raise ValueError
        return self.from_text(value)


class Switch(Kind):
    name = "boolean (true or false)"

    def from_file(self, value):
        if not isinstance(value, bool):
            raise ValueError
        return value


class Integers(Kind):
    """Several integers: '100,100' as a flag, [100, 100] in a file, a tuple here."""

    name = "list of integers such as 100,100 (in a file [100, 100])"

    def from_text(self, text):
        return tuple(int(part) for part in text.split(","))

    def from_file(self, value):
        if not isinstance(value, list):
            raise ValueError
        return tuple(Integer().from_file(width) for width in value)

    def to_file(self, value):
        return None if value is None else list(value)


class BatchSize(Kind):
    """A number of examples; 'full' for all of them, which is None here."""

    name = "integer or 'full'"

    def from_text(self, text):
        return None if text == "full" else int(text)

    def from_file(self, value):
        return None if value == "full" else Integer().from_file(value)

    def to_file(self, value):
        return "full" if value is None else value


class Interval(Kind):
    """A number of steps, '500', or of seconds, '60s': (500, 'steps') or (60.0, 'seconds') here."""

    name = "number of steps such as 500, or of seconds such as 60s"

    def from_text(self, text):
        return (float(text[:-1]), "seconds") if text.endswith("s") else (int(text), "steps")

    def from_file(self, value):
        return self.from_text(value) if isinstance(value, str) else (Integer().from_file(value), "steps")

    def to_file(self, value):
        if value is None:
            return None
        number, unit = value
        return number if unit == "steps" else f"{number:g}s"
