"""One module a protocol: how a request becomes values, and an answer a body."""
