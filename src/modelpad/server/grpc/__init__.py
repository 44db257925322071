"""gRPC: the server, its calls and its connections."""
