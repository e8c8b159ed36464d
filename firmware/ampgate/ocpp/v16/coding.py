"""Between bytes and messages: decoding with classified failures, encoding, the length check for sending."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

from ampgate.ocpp.v16.actions import ACTIONS
from ampgate.ocpp.v16.types import Message, text

ViolationCode = Literal[
    "FormationViolation",
    "OccurenceConstraintViolation",
    "TypeConstraintViolation",
    "PropertyConstraintViolation",
]
"""The error codes of OCPP-J 1.6 §4.2.3 that a payload can earn, in the (misspelt) words of the standard."""

M = TypeVar("M", bound=Message)


class PayloadError(Exception):
    """A payload that is not a valid message.

    ``code`` is the OCPP-J error code to answer with:

    - ``FormationViolation``: not JSON, not UTF-8, or not an object;
    - ``OccurenceConstraintViolation``: a required field is missing, or an array has too few elements;
    - ``TypeConstraintViolation``: a field has the wrong JSON type (``null`` in a required field included);
    - ``PropertyConstraintViolation``: a field has the right type and an impossible value.

    ``description`` names the field by its path (``meterValue[0].timestamp``) and what is wrong with it, in at
    most 255 characters, the limit of errorDescription.
    """

    def __init__(self, code: ViolationCode, description: str) -> None:
        """An error to answer with ``code`` and ``description``."""
        super().__init__(f"{code}: {description}")
        self.code: Final[ViolationCode] = code
        self.description: Final = description


_MAX_DESCRIPTION = 255
_ROOT = "$"

# msgspec reports a failure as text alone. These are all the texts that decoding our field types can produce,
# without the trailing " - at `$.path`"; a group named "field" is a field below that path.
_VIOLATIONS: tuple[tuple[re.Pattern[str], ViolationCode], ...] = (
    (re.compile(r"Object missing required field `(?P<field>[^`]+)`"), "OccurenceConstraintViolation"),
    (re.compile(r"Expected `array` of .*"), "OccurenceConstraintViolation"),
    (re.compile(r"Expected `[^`]+`(?:, got `[^`]+`)?"), "TypeConstraintViolation"),
    (re.compile(r"Expected `[^`]+` [<>]=? .*"), "PropertyConstraintViolation"),
    (re.compile(r"Invalid (?:enum )?value .*", re.DOTALL), "PropertyConstraintViolation"),
    (re.compile(r"(?:Number|Integer value) out of range"), "PropertyConstraintViolation"),
)


def _violation(report: str) -> PayloadError:
    """The classified form of a ``msgspec.ValidationError`` text."""
    what, _, path = report.rpartition(" - at `")
    what, path = (what, path.removesuffix("`")) if what else (report, _ROOT)
    for pattern, code in _VIOLATIONS:
        match = pattern.fullmatch(what)
        if match is None:
            continue
        if "field" in pattern.groupindex:
            return _payload_error(code, f"{path}.{match['field']}", "Required field is missing")
        if path == _ROOT:  # the payload itself is no object
            break
        return _payload_error(code, path, what)
    return _payload_error("FormationViolation", path, what)


def _payload_error(code: ViolationCode, path: str, what: str) -> PayloadError:
    field = path.removeprefix(_ROOT).removeprefix(".") or "payload"
    return PayloadError(code, f"{field}: {what}".replace("`", "")[:_MAX_DESCRIPTION])


@cache
def _decoder(kind: type[Message]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, strict=False)


for _action in ACTIONS.values():  # compiled here, so that no first message of a charger waits for it
    _decoder(_action.request)
    _decoder(_action.response)

_ENCODER = msgspec.json.Encoder()


def decode(kind: type[M], data: bytes | bytearray | memoryview | str | msgspec.Raw) -> M:
    """The message of type ``kind`` in ``data`` (a JSON object).

    Raises ``PayloadError`` for anything that is not such a message, whatever the bytes are.
    """
    try:
        message: M = _decoder(kind).decode(data)
        return message
    except msgspec.ValidationError as error:
        raise _violation(str(error)) from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise _payload_error("FormationViolation", _ROOT, str(error)) from error
    except RecursionError as error:
        raise _payload_error("FormationViolation", _ROOT, "Nested too deeply") from error


def encode(message: Message) -> bytes:
    """``message`` as a JSON object in UTF-8, without the optional fields that are ``None``.

    Lengths are not checked (see ``too_long``).
    """
    return _ENCODER.encode(message)


def too_long(message: Message) -> list[str]:
    """The paths of the texts in ``message`` that are longer than OCPP allows, e.g. ``idTagInfo.parentIdTag``.

    Such a message must not be sent: strict receivers reject it whole. Lengths count characters.
    """
    return list(_excesses(_checks(type(message)), message, ""))


class _Check(NamedTuple):
    """What to measure in one field: its own text, or the message or messages below it."""

    attribute: str
    name: str
    limit: int | None
    nested: tuple[_Check, ...]


def _excesses(checks: tuple[_Check, ...], message: Any, prefix: str) -> Iterator[str]:
    for check in checks:
        value = getattr(message, check.attribute)
        path = prefix + check.name
        many = isinstance(value, list)
        for index, item in enumerate(value if many else [value]):
            place = f"{path}[{index}]" if many else path
            if item is None:
                continue
            if check.limit is None:
                yield from _excesses(check.nested, item, place + ".")
            elif len(text(item)) > check.limit:
                yield place


@cache
def _checks(kind: type[msgspec.Struct]) -> tuple[_Check, ...]:
    """What ``too_long`` has to measure in messages of type ``kind``, found once by reflection."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    checks = []
    for field in info.fields:
        inner = _element(field.type)
        limit = inner.extra.get("max_length") if isinstance(inner, inspect.Metadata) and inner.extra else None
        nested = _checks(inner.cls) if isinstance(inner, inspect.StructType) else ()
        if limit is not None or nested:
            checks.append(_Check(field.name, field.encode_name, limit, nested))
    return tuple(checks)


def _element(kind: inspect.Type) -> inspect.Type:
    """``kind`` without its ``| None`` and, for a list, the type of the elements."""
    if isinstance(kind, inspect.UnionType):
        some = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        return _element(some[0]) if len(some) == 1 else kind
    return _element(kind.item_type) if isinstance(kind, inspect.ListType) else kind
