"""Messages of syslog out of a stream: counted, or each ended by a line end (RFC 6587). Pure."""

from typing import Final

LONGEST_BYTES: Final = 64 * 1024  # of one message; RFC 5424 asks for 2,048
_MOST_DIGITS: Final = len(str(LONGEST_BYTES))
_ESCAPED: Final = ((b"\n", b"#012"), (b"\0", b"#000"))  # as rsyslog writes them


class FramingError(Exception):
    """What comes cannot be told apart into messages; the connection has to begin anew."""


class Framing:
    """Takes a stream apart. A message that begins with a digit is counted, any other ends with its line."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False
        self.too_long = 0
        """Messages that were passed over."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are whole with *data*. Raises FramingError for a count that cannot be."""
        data = self._rest + data
        found: list[bytes] = []
        at = 0
        while at < len(data):
            end = self._counted(data, at, found) if data[at : at + 1].isdigit() and not self._skipping else -2
            if end == -2:
                end = self._line(data, at, found)
            if end < 0:
                break
            at = end
        self._rest = data[at:]
        return found

    def end(self) -> list[bytes]:
        """Return the message that the end of the stream ends: one without its line end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest and not self._skipping and not rest[:1].isdigit() else []

    def _counted(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Add a counted message and return its end; -1 while it is not whole."""
        space = data.find(b" ", at, at + _MOST_DIGITS + 1)
        digits = data[at:space] if space >= 0 else data[at : at + _MOST_DIGITS + 1]
        if not digits.isdigit() or (space < 0 and len(digits) > _MOST_DIGITS):
            raise FramingError("a count is expected before each message")
        if space < 0:
            return -1
        length = int(digits)
        if not 0 < length <= LONGEST_BYTES:
            raise FramingError(f"a message of {length} bytes is announced; {LONGEST_BYTES} are taken")
        end = space + 1 + length
        if end > len(data):
            return -1
        found.append(data[space + 1 : end])
        return end

    def _line(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Add a message that its line end ends, and return where the next one begins; -1 while it is not whole."""
        end = data.find(b"\n", at)
        length = (len(data) if end < 0 else end) - at
        if length > LONGEST_BYTES and not self._skipping:
            self.too_long += 1
            self._skipping = True
        if end < 0:
            return len(data) if self._skipping else -1
        if self._skipping:
            self._skipping = False
        else:
            found.append(data[at:end])
        return end + 1


def as_line(message: bytes) -> bytes:
    """Return a message as a line of a file; nothing for one without content."""
    line = message.strip(b"\r\n\0 ")
    for character, instead in _ESCAPED:
        line = line.replace(character, instead)
    return line + b"\n" if line else b""
