"""What is signed: an in-toto statement with the SHA-256 of every file of a bundle.

The predicate is that of OpenSSF model signing 1.0, for whole files. This module does no I/O and
knows nothing of keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from modelpad.foreign_json import Json, as_object, list_at, load_json, object_at, text_at

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
ALGORITHM = "sha256"


@dataclass(frozen=True, slots=True)
class Statement:
    """A model's name, and the SHA-256 in hex of each of its files by path.

    Only the files count: other tools take the name from the folder's.
    """

    name: str
    files: Mapping[str, str]

    def to_json(self) -> bytes:
        """The statement, with its files in the order of their paths."""
        order = sorted(self.files, key=PurePosixPath)
        resources = [
            {"name": path, "algorithm": ALGORITHM, "digest": self.files[path]} for path in order
        ]
        statement = {
            "_type": STATEMENT,
            "subject": [{"name": self.name, "digest": {ALGORITHM: self._hash_all(order)}}],
            "predicateType": PREDICATE,
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": ALGORITHM,
                    "allow_symlinks": False,
                },
                "resources": resources,
            },
        }
        return json.dumps(statement, ensure_ascii=False).encode("utf-8")

    @classmethod
    def from_json(cls, body: bytes) -> Statement:
        """Parses a statement.

        Raises `ValueError` for anything but a statement about whole files and their SHA-256.
        """
        try:
            return cls._from_record(as_object(load_json(body), "the statement"))
        except (LookupError, TypeError) as error:
            raise ValueError(f"{type(error).__name__} {error}") from error

    @classmethod
    def _from_record(cls, record: dict[str, Json]) -> Statement:
        if (text_at(record, "_type"), text_at(record, "predicateType")) != (STATEMENT, PREDICATE):
            raise ValueError(f"it is no statement of {PREDICATE}")
        predicate = object_at(record, "predicate")
        serialization = object_at(predicate, "serialization")
        kind = text_at(serialization, "method"), text_at(serialization, "hash_type")
        if kind != ("files", ALGORITHM):
            raise ValueError(f"it covers {kind!r:.80}, not files by {ALGORITHM}")
        (subject,) = list_at(record, "subject")
        files: dict[str, str] = {}
        for value in list_at(predicate, "resources"):
            resource = as_object(value, "a resource")
            path = text_at(resource, "name")
            if path in files or text_at(resource, "algorithm") != ALGORITHM:
                raise ValueError(f"it names {path!r:.80} twice, or not by {ALGORITHM}")
            files[path] = text_at(resource, "digest")
        statement = cls(text_at(as_object(subject, "a subject"), "name"), files)
        whole = text_at(object_at(as_object(subject, "a subject"), "digest"), ALGORITHM)
        if whole != statement._hash_all(files):
            raise ValueError("its digest is not that of its files")
        return statement

    def _hash_all(self, order: Mapping[str, str] | list[str]) -> str:
        """The SHA-256 of all digests in this order."""
        return hashlib.sha256(b"".join(bytes.fromhex(self.files[p]) for p in order)).hexdigest()
