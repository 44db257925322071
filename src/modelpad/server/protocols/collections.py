"""`/collections`: pictures that people give on the page, in classes, to train on.

Only servers with `--studio` take any. With API keys, a collection belongs to the key's owner.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput
from modelpad.server.backend import Backend
from modelpad.server.http.messages import JSON, Request, Response, respond_json
from modelpad.server.json_schema import TEXT, make_list, make_object, refer
from modelpad.server.page import respond_bundle_file
from modelpad.server.protocols.jobs import require_studio
from modelpad.server.routing import Names, Operation, Route

if TYPE_CHECKING:
    from modelpad.collection import Collection
    from modelpad.foreign_json import Json


async def create_collection(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /collections`: a new one. Raises `CollectionFull`."""
    studio = require_studio(backend)
    made = await asyncio.to_thread(studio.collections.create, request.owner)
    headers = {"location": f"/collections/{made.id}"}
    return respond_json(describe(made), status=HTTPStatus.CREATED, headers=headers)


async def list_collections(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /collections`: one's own, the last changed first."""
    studio = require_studio(backend)

    def read() -> list[dict[str, object]]:
        return [describe(each) for each in studio.collections.owned(request.owner)]

    return respond_json({"collections": await asyncio.to_thread(read)})


async def show_collection(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /collections/{id}`: its classes and pictures."""
    collection = open_collection(backend, request, names)
    return respond_json(await asyncio.to_thread(describe, collection))


async def delete_collection(backend: Backend, request: Request, names: Names) -> Response:
    """`DELETE /collections/{id}`: deletes it with its pictures."""
    await asyncio.to_thread(open_collection(backend, request, names).delete)
    return respond_json({"deleted": names["id"]})


async def add_picture(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /collections/{id}/pictures?class=NAME`: adds the body, a PNG, JPEG or WebP file.

    Raises as `Collection.add`, and as `Image.decode` for a damaged picture.
    """
    from modelpad.collection import name_item
    from modelpad.fields import Image

    collection = open_collection(backend, request, names)
    body = await request.body()
    field = Image("picture", height=None, width=None)
    name = request.query().get("class", "")

    def add() -> str:
        name_item(body)
        field.decode(body)
        return collection.add(name, body)

    async with require_studio(backend).turn:
        item = await asyncio.to_thread(add)
    return respond_json({"picture": item}, status=HTTPStatus.CREATED)


async def show_picture(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /collections/{id}/pictures/{picture}`: a picture as it was sent."""
    collection = open_collection(backend, request, names)
    body = await asyncio.to_thread(collection.read, names["picture"])
    return respond_bundle_file(names["picture"], body)


async def remove_picture(backend: Backend, request: Request, names: Names) -> Response:
    """`DELETE /collections/{id}/pictures/{picture}`: removes a picture."""
    collection = open_collection(backend, request, names)
    await asyncio.to_thread(collection.remove, names["picture"])
    return respond_json({"deleted": names["picture"]})


async def rename_class(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /collections/{id}/rename`: `{"class": "cat", "to": "dog"}`. Raises `InvalidInput`."""
    collection = open_collection(backend, request, names)
    record = request.parse_json(await request.body())
    old, new = read_names(record)
    await asyncio.to_thread(collection.rename, old, new)
    return respond_json(await asyncio.to_thread(describe, collection))


def read_names(record: Json) -> tuple[str, str]:
    """The old and the new name of a class. Raises `InvalidInput`."""
    if isinstance(record, dict) and record.keys() == {"class", "to"}:
        old, new = record["class"], record["to"]
        if isinstance(old, str) and isinstance(new, str):
            return old, new
    raise InvalidInput(
        "A class is renamed by an object of class and to.",
        hint='Send: {"class": "cat", "to": "dog"}',
        expected="an object with class and to",
        got=type(record).__name__,
    )


def open_collection(backend: Backend, request: Request, names: Names) -> Collection:
    """The collection of the path, if it is the key owner's. Raises `NotFound`."""
    return require_studio(backend).collections.open(names["id"], request.owner)


def describe(collection: Collection) -> dict[str, object]:
    """A collection as JSON, with what a training needs."""
    from modelpad.collection import MIN_CLASSES, MIN_PICTURES

    classes = [
        {"name": name, "pictures": items} for name, items in collection.classes().items() if items
    ]
    return {
        "id": collection.id,
        "classes": classes,
        "needs": {"classes": MIN_CLASSES, "pictures": MIN_PICTURES},
        "limits": {"pictures": collection.limits.pictures, "bytes": collection.limits.bytes},
    }


ONE = {JSON: refer("Collection")}
DELETED = {JSON: make_object({"deleted": TEXT})}


def _operate(summary: str, responses: dict[str, dict[str, object]], *, status: str) -> Operation:
    return Operation(
        summary, responses, failures=("404", "422", "507"), needs_models=False, status=status
    )


ROUTES = (
    Route(
        "POST",
        "/collections",
        create_collection,
        _operate("Begin to collect pictures; only with --studio", ONE, status="201"),
    ),
    Route(
        "GET",
        "/collections",
        list_collections,
        _operate(
            "Your collections",
            {JSON: make_object({"collections": make_list(refer("Collection"))})},
            status="200",
        ),
    ),
    Route(
        "GET",
        "/collections/{id}",
        show_collection,
        _operate("The classes and pictures of a collection", ONE, status="200"),
    ),
    Route(
        "DELETE",
        "/collections/{id}",
        delete_collection,
        _operate("Delete a collection", DELETED, status="200"),
    ),
    Route(
        "POST",
        "/collections/{id}/pictures",
        add_picture,
        Operation(
            "Add a picture to the class of ?class=NAME",
            {JSON: make_object({"picture": TEXT})},
            {kind: {} for kind in ("image/png", "image/jpeg", "image/webp")},
            failures=("404", "422", "507"),
            needs_models=False,
            status="201",
            query=("class",),
        ),
    ),
    Route(
        "GET",
        "/collections/{id}/pictures/{picture}",
        show_picture,
        _operate("A picture as it was sent", {"image/*": {}}, status="200"),
    ),
    Route(
        "DELETE",
        "/collections/{id}/pictures/{picture}",
        remove_picture,
        _operate("Remove a picture", DELETED, status="200"),
    ),
    Route(
        "POST",
        "/collections/{id}/rename",
        rename_class,
        Operation(
            "Give a class another name",
            ONE,
            {JSON: make_object({"class": TEXT, "to": TEXT})},
            failures=("404", "422"),
            needs_models=False,
        ),
    ),
)
