"""Decides which versions are loaded, and which of them serves a request."""
