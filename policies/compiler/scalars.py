"""Which signs a value may hold, and whether it is a text when it stands without quotes (YAML 1.2)."""

import re
from typing import Final

_NOT_TEXT: Final = re.compile(
    r"""
    | ~ | null | Null | NULL
    | true | True | TRUE | false | False | FALSE
    | [0-9] [0-9_]* | [-+] [0-9_]+  # 1_000_000 and 010 are numbers to our reader
    | 0o [0-7_]+ | 0x [0-9a-fA-F_]+ | 0b [01_]+
    | [-+]? ( \. [0-9_]+ | [0-9] [0-9_]* \. [0-9_]* ) ( [eE] [-+]? [0-9]+ )?
    | [-+]? [0-9] [0-9_]* [eE] [-+]? [0-9]+
    | [-+]? \. ( inf | Inf | INF ) | \. ( nan | NaN | NAN )
    """,
    re.VERBOSE,
)

# Lone surrogates are what a reader leaves of bytes that are no UTF-8; U+202A and so on turn text around.
INVISIBLE: Final = re.compile(
    "\r(?!\n)|[^\t\n\r\x20-\x7e\xa0-\U0010ffff]|[\ud800-\udfff\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
"""Signs that an eye cannot see and a parser, a terminal or a log might act on."""


def is_text(plain: str) -> bool:
    """Whether an unquoted value is a text to every reader of YAML 1.2 (dates are texts)."""
    return _NOT_TEXT.fullmatch(plain) is None
