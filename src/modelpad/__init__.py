"""modelpad: your trained model, live in one command.

Importing this package does no work; each room (`modelpad.bundle`, `modelpad.store`,
`modelpad.engine`, ...) is imported by the code that needs it.
"""

__version__ = "0.1.0"
