"""What Python programs call; `modelpad/__init__.py` offers it by name.

    saving    save: a model in memory becomes a version in the store
    models    load: a model that predicts in this process
    serving   serve: a server in a process of its own, for scripts and notebooks
    training  train: from data to a new version
    cards     the card of a model for notebooks

Like `cli/`, it reads the environment's variables; it does not import `cli/`.
"""
