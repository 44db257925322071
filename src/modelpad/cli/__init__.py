"""The command line: one module a command. It alone reads the environment."""
