"""The client of a modelpad server. It depends only on the HTTP API."""

from modelpad.client.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
