"""The parser's complaints in words that a product manager can act on."""

from typing import Any, Final

from ruamel.yaml.error import MarkedYAMLError

_OPENED: Final = "here"
_NOTICED: Final = "there"
_CLOSING: Final = "at the end"

# What the parser says -> whether the place to mend is where the construct began or where it was
# noticed (of a bracket: both), the sentence, and the hint. The first row that fits is taken.
_SENTENCES: Final = (
    ("found unexpected end of stream", _OPENED, "the quote that opens here is never closed", ""),
    ("found unexpected document separator", _OPENED, "the quote that opens here is never closed", ""),
    (
        "mapping values are not allowed here",
        _NOTICED,
        'a ":" that cannot stand here',
        'put a text that holds ": " in quotes, and check the indentation of this line',
    ),
    ("mapping keys are not allowed here", _NOTICED, 'a "?" that cannot stand here', "put the text in quotes"),
    (
        "sequence entries are not allowed here",
        _NOTICED,
        'a "-" that cannot stand here',
        "start the list on its own line",
    ),
    ("could not find expected ':'", _OPENED, 'a ":" is missing after this name', ""),
    ("cannot start any token", _NOTICED, "a value cannot start with this sign", "put the value in quotes"),
    ("found unknown escape", _NOTICED, "double quotes do not know this escape", "use single quotes"),
    ("escape sequence of", _NOTICED, "this escape is not complete", "use single quotes"),
    (
        "invalid intendation or unclosed",
        _NOTICED,
        'a "[" or "{" before this is never closed, or this line is indented too little',
        "",
    ),
    ("expected ',' or '}", _CLOSING, 'a "," or the closing "}" is missing before this', ""),
    ("expected ',' or ']", _CLOSING, 'a "," or the closing "]" is missing before this', ""),
    (
        "expected <block end>",
        _NOTICED,
        "this line does not line up with the lines that it belongs to",
        "indent it like its neighbours",
    ),
    ("expected the node content", _NOTICED, "a value is missing before this", ""),
    (
        "expected alphabetic or numeric",
        _NOTICED,
        "a value cannot start with & or *",
        "put the value in quotes",
    ),
    (
        "expected chomping or indentation",
        _NOTICED,
        "a value cannot start with | or >",
        "put the value in quotes",
    ),
    ("found unexpected ':'", _NOTICED, 'a ":" that cannot stand here', "put the text in quotes"),
)


def explain(error: MarkedYAMLError) -> tuple[Any, str, str]:
    """The mark of the place to mend, a sentence, and a hint or nothing."""
    said = str(error.problem or error.context or "")
    for words, where, sentence, hint in _SENTENCES:
        if words in said:
            began, noticed = error.context_mark or error.problem_mark, error.problem_mark
            if where is _CLOSING:
                return noticed, sentence, f"the bracket was opened in line {began.line + 1}"
            return (began if where is _OPENED else noticed), sentence, hint
    return error.problem_mark or error.context_mark, f"this is not YAML ({said})", ""
