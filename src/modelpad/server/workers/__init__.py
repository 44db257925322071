"""Several processes that answer as one server: a supervisor, and its workers."""
