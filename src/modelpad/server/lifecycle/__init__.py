"""Which versions are loaded, and which of them a request gets."""
