"""The client of a modelpad server; knows the API, and nothing of what is behind it."""

from modelpad.client.client import AsyncClient, Client
from modelpad.client.values import Answer

__all__ = ["Answer", "AsyncClient", "Client"]
