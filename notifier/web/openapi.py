"""The OpenAPI document of what is answered here."""

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, Literal

import msgspec
from aiohttp import web

from notifier import __version__
from notifier.web.examples import examples
from notifier.web.lists import Answer
from notifier.web.operations import OPERATIONS, Operation
from notifier.web.reply import Error
from notifier.web.schemas import reference, schemas
from notifier.web.session import COOKIE

Door = Literal["open", "this machine", "token"]
"""Who is let in: whoever can connect, who asks for this machine by name, who has the token."""

_ABOUT = """\
What the notifier knows and does. Lists come a page at a time, the newest first: `next_cursor` of one page is
the `cursor` of the next, and null on the last one. Times are UTC. What cannot be done is answered with
`{"error": "…"}`, in words; a method that a path does not have with 405 and `Allow`. Unknown query parameters
are ignored, unknown keys of a body refused.

Changes need the header `Content-Type: application/json`, also where the body is an empty object: no form of
another site can send that."""
_ERRORS = {
    400: "A parameter or the body cannot be used.",
    401: "There is no token, or another one.",
    403: "The request is not from here: its Host is another machine's, or another site sent it.",
    404: "What is named is not there.",
    409: "It cannot be done as things stand.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    422: "The config is wrong; the one before stays in force.",
    503: "It could not be answered in time.",
}
_METHODS = frozenset({"GET", "POST", "DELETE"})


def document_routes(application: web.Application, door: Door, answer: Answer) -> list[web.RouteDef]:
    """Return what answers with the document of all that an application answers, this included."""

    @cache
    def made() -> dict[str, Any]:
        return document(paths(application), door)

    async def told(_: web.Request) -> web.Response:
        return await answer(made)

    return [web.get("/api/v1/openapi.json", told)]


def paths(application: web.Application) -> set[tuple[str, str]]:
    """Return the methods and paths that an application answers."""
    return {
        (route.method, route.resource.canonical)
        for route in application.router.routes()
        if route.resource is not None and route.method in _METHODS
    }


def document(answered: Collection[tuple[str, str]], door: Door) -> dict[str, Any]:
    """Return the document of those operations whose method and path are answered."""
    operations = [each for each in OPERATIONS if (each.method.upper(), each.path) in answered]
    told: dict[str, dict[str, Any]] = {}
    known = {struct: msgspec.json.decode(msgspec.json.encode(value)) for struct, value in examples().items()}
    for operation in operations:
        told.setdefault(operation.path, {})[operation.method] = _operation(operation, door, known)
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "backfill-notifier",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": told,
        "components": {"schemas": schemas([*dict.fromkeys(_structs(operations))])},
    }
    if door == "token":
        made["security"] = [{"bearer": []}, {"cookie": []}]
        made["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "The token of `[web]`."},
            "cookie": {
                "type": "apiKey",
                "in": "cookie",
                "name": COOKIE,
                "description": "What signing in on the page gives a browser.",
            },
        }
    return made


def _structs(operations: Collection[Operation]) -> Iterator[Any]:
    yield Error
    for each in operations:
        yield from (struct for struct in (each.body, each.answer, each.unwell) if _is_struct(struct))


def _is_struct(type_: Any) -> bool:
    return type_ is not None and type_ is not dict and not isinstance(type_, tuple)


def _operation(operation: Operation, door: Door, examples: dict[Any, Any]) -> dict[str, Any]:
    good = {"description": operation.words, "content": _content(operation.answer, examples)}
    answers = {operation.status: good} | {
        status: {"description": _ERRORS[status], "content": _content(Error, examples)}
        for status in _errors(operation, door)
    }
    if operation.unwell is not None:
        either = {"anyOf": [reference(operation.unwell), reference(Error)]}
        answers[503] = {
            "description": f"It does not, or {_ERRORS[503][0].lower()}{_ERRORS[503][1:]}",
            "content": {"application/json": {"schema": either}},
        }
    told: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": {str(status): answers[status] for status in sorted(answers)},
    }
    if operation.description:
        told["description"] = operation.description
    if operation.parameters:
        told["parameters"] = list(operation.parameters)
    if operation.body is not None:
        content = _content(operation.body, examples)
        content["application/json"]["schema"] |= operation.body_rule
        told["requestBody"] = {"required": True, "content": content}
    if operation.public and door == "token":
        told["security"] = []
    return told


def _errors(operation: Operation, door: Door) -> Iterator[int]:
    yield from operation.errors
    yield 503
    is_change = operation.method != "get"
    if door == "token" and not operation.public:
        yield 401
    if door == "this machine" or (door == "token" and is_change):
        yield 403
    if is_change:
        yield 413
    if is_change and door != "open":
        yield 415


def _content(type_: Any, examples: dict[Any, Any]) -> dict[str, Any]:
    if isinstance(type_, tuple):
        return {media: {"schema": {"type": "string"}} for media in type_}
    if type_ is dict:
        return {"application/json": {"schema": {"type": "object"}}}
    content: dict[str, Any] = {"schema": reference(type_)}
    if type_ in examples:
        content["example"] = examples[type_]
    return {"application/json": content}
