"""Strict JSON (section 3): Python's parser, and checks for everything that it would let pass."""

from __future__ import annotations

import json
import math
from typing import Any

from protocol import malformed

OBJECT_KEYS_MAX = 64
DEPTH_MAX = 16


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON-2 and JSON-6: no key twice, at most 64 keys."""
    result = dict(pairs)
    if len(result) != len(pairs) or len(pairs) > OBJECT_KEYS_MAX:
        raise malformed()
    return result


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # JSON-5: beyond binary64
        raise malformed()
    return value


def _integer(text: str) -> int | float:
    """Digits alone are an `int`. What has a sign is left a float, which no known field takes (JSON-5)."""
    value = _float(text)
    return value if text.startswith("-") else int(text)


def _constant(_text: str) -> None:
    raise malformed()  # NaN and Infinity, which Python would take


def _check_value(value: Any, depth: int) -> None:
    """JSON-6 and JSON-7, for every value at any depth."""
    if isinstance(value, str):
        value.encode()  # raises UnicodeEncodeError for half a surrogate pair
    elif isinstance(value, (dict, list)):
        if depth > DEPTH_MAX:
            raise malformed()
        for key in value if isinstance(value, dict) else ():
            key.encode()
        for item in value.values() if isinstance(value, dict) else value:
            _check_value(item, depth + 1)


def parse(text: str) -> dict[str, Any]:
    """The JSON object that a message is."""
    try:
        value = json.loads(
            text, object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
        if not isinstance(value, dict):
            raise malformed()
        _check_value(value, 1)
    except (ValueError, RecursionError) as error:  # UnicodeEncodeError and JSONDecodeError are ValueErrors
        raise malformed() from error
    return value
