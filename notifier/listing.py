"""A reply of the API, read: which jobs it lists, each kept as received."""

import re

import msgspec

_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_ELEMENT = msgspec.json.Decoder(msgspec.Raw)

# An element is read again later, inside a record and with less of the stack left.
_SPARE_DEPTH = 200
_SHALLOW = 500
"""An element with no more brackets than these cannot be nested too deeply."""

# One JSON escape: a surrogate pair, a lone surrogate (group 1), or any other.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class Element(msgspec.Struct, frozen=True, gc=False):
    """One job as listed."""

    job_id: str
    status: str
    """As listed, but `cancelled` for its other spelling `canceled`."""
    raw: msgspec.Raw
    """The element as received; it keeps the whole body in memory, so what is kept must be a copy."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One good reply of the API."""

    elements: tuple[Element, ...]
    """In the order of the reply; of a job that stands in it twice, the last one."""
    rejected: int
    """How many elements had no usable `job_id` or `status`."""
    rejected_ids: frozenset[str]
    """The `job_id` of those that had a usable one."""
    organization_ids: frozenset[str]

    @property
    def proves_absence(self) -> bool:
        """Whether what is not in it is not listed: an element without a usable `job_id` may be any job."""
        return self.rejected == len(self.rejected_ids)


class ListingError(ValueError):
    """The body is not a whole JSON array: no observation."""


class _Head(msgspec.Struct, gc=False, omit_defaults=True):
    job_id: str
    status: str
    organization_id: str | None = None


_HEAD = msgspec.json.Decoder(_Head)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


def read_listing(body: bytes | bytearray) -> Listing:
    """Return what a reply lists. Raises ListingError when it is not one whole JSON array."""
    elements: dict[str, Element] = {}
    organization_ids: set[str] = set()
    rejected_ids: list[str | None] = []
    for raw in _split(body):
        head = _read_head(raw)
        if head is None:
            rejected_ids.append(_read_id(raw))
            continue
        status = "cancelled" if head.status == "canceled" else head.status
        if _is_too_deep(raw):
            raw = msgspec.Raw(msgspec.json.encode(head))  # noqa: PLW2901 - its other fields count as absent
        elements[head.job_id] = Element(head.job_id, status, raw)
        if head.organization_id:
            organization_ids.add(head.organization_id)
    return Listing(
        elements=tuple(elements.values()),
        rejected=len(rejected_ids),
        rejected_ids=frozenset(id_ for id_ in rejected_ids if id_ is not None),
        organization_ids=frozenset(organization_ids),
    )


def _split(body: bytes | bytearray) -> list[msgspec.Raw]:
    if not body or body.isspace():
        raise ListingError("the reply is empty")
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look at the bytes of strings it skips
        return _elements(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _split_repaired(body)


def _elements(body: bytes | bytearray) -> list[msgspec.Raw]:
    try:
        return _ELEMENTS.decode(body)
    except RecursionError as error:
        raise ListingError("the reply is nested too deeply") from error


def _is_too_deep(element: msgspec.Raw) -> bool:
    if len(element) <= 2 * _SHALLOW or _brackets(bytes(element)) <= _SHALLOW:
        return False
    try:
        _ELEMENT.decode(b"[" * _SPARE_DEPTH + element + b"]" * _SPARE_DEPTH)
    except RecursionError:
        return True
    return False


def _brackets(element: bytes) -> int:
    return element.count(b"[") + element.count(b"{")


def _split_repaired(body: bytes | bytearray) -> list[msgspec.Raw]:
    """Read a body again with what cannot be text (lone surrogates, bytes that are no UTF-8) replaced.

    One odd character in one job's name must not hide all other jobs.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").encode()
    text = _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], text)
    try:
        return _elements(text)
    except msgspec.MsgspecError as error:
        start = text.lstrip()[:1]
        if start == b"<":
            raise ListingError("the reply is an HTML page, not JSON") from error
        if start == b"{":
            raise ListingError("the reply is a JSON object, not an array") from error
        if start != b"[":
            raise ListingError("the reply is not a JSON array") from error
        raise ListingError("the reply is not a whole JSON array; it may have been cut off") from error


def _read_head(raw: msgspec.Raw) -> _Head | None:
    try:
        return _HEAD.decode(raw)
    except msgspec.MsgspecError:
        pass
    try:
        fields = _FIELDS.decode(raw)
        return _Head(_TEXT.decode(fields["job_id"]), _TEXT.decode(fields["status"]))
    except (msgspec.MsgspecError, KeyError):
        return None


def _read_id(raw: msgspec.Raw) -> str | None:
    try:
        return _TEXT.decode(_FIELDS.decode(raw)["job_id"])
    except (msgspec.MsgspecError, KeyError):
        return None
