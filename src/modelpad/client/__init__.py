"""The client of a modelpad server. It depends only on the HTTP API."""

from modelpad.client.client import AsyncClient, Client
from modelpad.client.values import Answer

__all__ = ["Answer", "AsyncClient", "Client"]
