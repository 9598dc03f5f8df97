"""Errors of the endpoint as ClickHouse gives them: a code, one text, and an HTTP status."""

import re
from typing import Final

# What ClickHouse's HTTP interface answers for a code; 500 for every other one.
_STATUS: Final = {
    401: (194,),
    403: (192, 193, 497, 512, 516),
    # Bad arguments, texts that do not parse, values that do not fit, columns that do not exist.
    400: (6, 10, 15, 25, 26, 27, 36, 38, 41, 44, 53, 62, 72, 117, 167, 168, 223, 224, 321, 376, 427, 441, 675, 676),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 83, 115, 336, 511),
    408: (159,),
    411: (381,),
    413: (133,),
    501: (48,),
    503: (76, 209, 439),
}
_STATUS_OF: Final = {code: status for status, codes in _STATUS.items() for code in codes}

NOT_IMPLEMENTED: Final = 48
SYNTAX_ERROR: Final = 62
UNKNOWN_DATABASE: Final = 81
READONLY: Final = 164
TOO_MANY_SIMULTANEOUS_QUERIES: Final = 202
ZLIB_INFLATE_FAILED: Final = 354
INTO_OUTFILE_NOT_ALLOWED: Final = 358
SESSION_NOT_FOUND: Final = 372
SESSION_IS_LOCKED: Final = 373
INVALID_SESSION_TIMEOUT: Final = 374
SETTING_CONSTRAINT_VIOLATION: Final = 452
ACCESS_DENIED: Final = 497
AUTHENTICATION_FAILED: Final = 516
SESSION_ID_EMPTY: Final = 744
QUERY_IS_TOO_LARGE: Final = 133
BAD_ARGUMENTS: Final = 36
UNKNOWN_EXCEPTION: Final = 1002

_NAMES: Final = {
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_DATABASE: "UNKNOWN_DATABASE",
    QUERY_IS_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    READONLY: "READONLY",
    TOO_MANY_SIMULTANEOUS_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    ZLIB_INFLATE_FAILED: "ZLIB_INFLATE_FAILED",
    INTO_OUTFILE_NOT_ALLOWED: "INTO_OUTFILE_NOT_ALLOWED",
    SESSION_NOT_FOUND: "SESSION_NOT_FOUND",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    INVALID_SESSION_TIMEOUT: "INVALID_SESSION_TIMEOUT",
    SETTING_CONSTRAINT_VIOLATION: "SETTING_CONSTRAINT_VIOLATION",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    SESSION_ID_EMPTY: "SESSION_ID_EMPTY",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}
_CODE: Final = re.compile(r"Code: (\d+)\. DB::Exception: ")
_TAIL: Final = re.compile(r"(?:\s*\([A-Z][A-Z0-9_]+\)|\s*\(version [^()]*\)|\s*\.)+\s*$")
_NAME: Final = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")
# The parser is asked by a function, whose call the engine names in the error.
_PARSER_SCOPE: Final = re.compile(r": In scope SELECT parseQueryToJSON\(.*\)$", re.DOTALL)


class EndpointError(Exception):
    """A refusal in ClickHouse's words. ``str()`` is the text of the answer, without the version."""

    def __init__(self, code: int, message: str, name: str | None = None) -> None:
        self.code = code
        self.name = name or _NAMES.get(code, "UNKNOWN_EXCEPTION")
        self.status = _STATUS_OF.get(code, 500)
        super().__init__(f"Code: {code}. DB::Exception: {message}. ({self.name})")


def from_engine(error: Exception) -> EndpointError:
    """Return what the engine said as an error of the endpoint: one code, once, whatever wrapped it."""
    text = str(error)
    codes = list(_CODE.finditer(text))
    if not codes:
        return EndpointError(UNKNOWN_EXCEPTION, text.strip().rstrip(".") or type(error).__name__)
    first = codes[0]
    body = text[first.end() :]
    while repeated := _CODE.match(body):  # an error that was wrapped on its way out
        body = body[repeated.end() :]
    tail = _TAIL.search(body)
    names = _NAME.findall(tail.group()) if tail else []
    message = body[: tail.start()] if tail else body
    return EndpointError(
        int(first.group(1)), _PARSER_SCOPE.sub("", message.rstrip()).rstrip(" ."), names[0] if names else None
    )
