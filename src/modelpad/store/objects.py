"""The objects under one URL, through obstore: S3, Google Cloud Storage, Azure Blob Storage.

All conditions are checked by the service: an object is created only where there is none, and
replaced only if it is still the one that was read. obstore's errors are translated here, and
nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from modelpad.errors import MissingExtra, StoreError

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

EXTRA = "cloud"
# Only an endpoint that the operator has set can be one without TLS.
CLIENT: ClientConfig = {
    "connect_timeout": "5s",
    "read_timeout": "20s",
    "timeout": "1h",
    "allow_http": True,
}
MAX_TEXT_BYTES = 64 * 1024 * 1024  # of a manifest; the largest known is below one
CHUNK_BYTES = 1024 * 1024
LIST_CHUNK = 1000
CREDENTIALS = (
    "instance metadata|169\\.254\\.|metadata\\.google|\\bcredential|\\btoken\\b|"
    "account key|metadata/identity"
)
REJECTED = "InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|failed to authenticate"
MISSING = "NoSuchBucket|ContainerNotFound|specified container does not exist"
HINTS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS, or give this machine a service account.",
    "az": "Set AZURE_STORAGE_ACCOUNT_KEY, or give this machine an identity.",
}

Tag: TypeAlias = str  # what a service calls an object's ETag: it changes with the content


@dataclass(frozen=True, slots=True)
class Found:
    """A small object as it was read: its content, and what it must still be to be replaced."""

    body: bytes
    tag: Tag
    seen: UpdateVersion


class Objects:
    """The objects under `url`. Paths are relative to it. Every method raises `StoreError`."""

    def __init__(self, client: ObjectStore, url: str) -> None:
        self.url = url
        self._client = client

    def list(self, folder: str) -> dict[str, Tag]:
        """The tag of every object below a folder, by path."""
        import obstore

        with self._translated("listed"):
            chunks = obstore.list(self._client, folder, chunk_size=LIST_CHUNK)
            return {meta["path"]: _clean(meta["e_tag"]) for chunk in chunks for meta in chunk}

    def read(self, path: str) -> Found | None:
        """A small object; None if there is none."""
        import obstore
        from obstore.exceptions import NotFoundError

        with self._translated("read"):
            try:
                result = obstore.get(self._client, path)
            except (FileNotFoundError, NotFoundError):
                return None
            meta = result.meta
            if meta["size"] > MAX_TEXT_BYTES:
                raise StoreError(
                    f"{self.url}/{path} has {meta['size']:,} bytes.",
                    hint="That is no file of modelpad's. Check the store's URL.",
                )
            seen: UpdateVersion = {}
            if meta["e_tag"] is not None:
                seen["e_tag"] = meta["e_tag"]
            if meta["version"] is not None:
                seen["version"] = meta["version"]
            return Found(bytes(result.bytes()), _clean(meta["e_tag"]), seen)

    def create(self, path: str, body: bytes) -> Tag | None:
        """Creates an object; its tag, or None if there is another one already."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._translated("written"):
            try:
                result = obstore.put(self._client, path, body, mode="create")
            except AlreadyExistsError:
                return self._find_own(path, body)
            return _clean(result["e_tag"])

    def write(self, path: str, body: bytes) -> None:
        """Writes a small object, whatever was there."""
        import obstore

        with self._translated("written"):
            obstore.put(self._client, path, body)

    def replace(self, path: str, body: bytes, seen: Found | None) -> Tag | None:
        """Replaces the object that was `seen`, None for none; None if it has changed since."""
        import obstore
        from obstore.exceptions import NotFoundError, PreconditionError

        if seen is None:
            return self.create(path, body)
        with self._translated("written"):
            try:
                result = obstore.put(self._client, path, body, mode=seen.seen)
            except (FileNotFoundError, NotFoundError, PreconditionError):
                return self._find_own(path, body)
            return _clean(result["e_tag"])

    def upload(self, path: str, file: Path) -> None:
        """Uploads a file, in parts if it is large; the object appears when it is complete."""
        import obstore

        with self._translated("written"):
            obstore.put(self._client, path, file)

    def download(self, path: str, file: Path, max_bytes: int) -> None:
        """Downloads an object; stops one byte after `max_bytes` if it is longer than that."""
        import obstore

        with self._translated("read"), file.open("wb") as target:
            left = max_bytes + 1
            for chunk in obstore.get(self._client, path).stream(CHUNK_BYTES):
                target.write(chunk[:left])
                left -= len(chunk)
                if left <= 0:
                    return

    def delete(self, paths: Iterable[str]) -> None:
        """Deletes objects; those that do not exist are not an error."""
        import obstore
        from obstore.exceptions import NotFoundError

        with self._translated("written"):
            for path in paths:
                try:
                    obstore.delete(self._client, path)
                except (FileNotFoundError, NotFoundError):
                    continue

    def _find_own(self, path: str, body: bytes) -> Tag | None:
        """The tag of an object that is what was to be written.

        The service has then written it, but its response was lost and the request was sent again.
        """
        found = self.read(path)
        return found.tag if found is not None and found.body == body else None

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except OSError as error:
            if error.errno is not None:  # of a file on this machine
                raise
            raise explain(error, self.url, verb) from error
        except (BaseError, ValueError) as error:
            raise explain(error, self.url, verb) from error


def open_objects(url: str) -> Objects:
    """The objects under a URL; nothing is sent yet. Raises `MissingExtra` and `StoreError`."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, from_url
    except ImportError as error:
        raise MissingExtra("obstore", extra=EXTRA) from error
    from datetime import timedelta

    retries: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
    try:
        client: ObjectStore
        if url.startswith("az://"):  # for obstore, these URLs begin with the container
            account, container, *folders = url.removeprefix("az://").split("/")
            client = AzureStore(
                container,
                account_name=account,
                prefix="/".join(folders) or None,
                client_options=CLIENT,
                retry_config=retries,
            )
        else:
            client = from_url(url, client_options=CLIENT, retry_config=retries)
    except (BaseError, ValueError) as error:
        raise explain(error, url, "opened") from error
    return Objects(client, url)


def explain(error: Exception, url: str, verb: str) -> StoreError:
    """An error of obstore or of the file system, in words and with what to do."""
    text = " ".join(str(error).split())
    kind, scheme = type(error).__name__, url.partition(":")[0]
    bucket = "/".join(url.split("/")[: 4 if scheme == "az" else 3])
    is_rejected = kind in ("PermissionDeniedError", "UnauthenticatedError") or isinstance(
        error, PermissionError
    )
    if is_rejected or re.search(REJECTED, text):
        return StoreError(
            f"{bucket} rejects the credentials: {url} cannot be {verb}.", hint=HINTS.get(scheme, "")
        )
    is_missing = isinstance(error, FileNotFoundError) or kind == "NotFoundError"
    if is_missing or re.search(MISSING, text):
        return StoreError(
            f"{url} cannot be {verb}: there is no bucket {bucket}, or an object is missing.",
            hint="Check the URL; modelpad does not create buckets.",
        )
    if re.search(CREDENTIALS, text, re.IGNORECASE):
        return StoreError(f"There are no credentials for {bucket}.", hint=HINTS.get(scheme, ""))
    return StoreError(
        f"{url} cannot be {verb}: {_shorten(text)}",
        hint="Check the network and the service's address, and try again.",
        away=True,
    )


def _shorten(text: str) -> str:
    """The cause in a client's error, without the request, and what it prints for its authors."""
    first = re.split(r"\s*(?:Debug source:|\{)", text)[0]
    cause = re.split(r" retry_timeout: \S+ +- | in [\d.]+\S+ - ", first)[-1].rstrip(" .:")
    return f"{cause[:200]}."


def _clean(tag: str | None) -> Tag:
    """A tag without its quotes, which some services leave out in lists."""
    return (tag or "").strip('"')
