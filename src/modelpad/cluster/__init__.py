"""Runs modelpad on the machines of a Ray cluster.

Serving: `replica` makes the app of one replica, and `serving` keeps as many of them as the requests
need. Training: `inputs` are sent, `process` trains, in several workers as a `team`, `keeper`
remembers, and `training` shows it.
`connection` finds the cluster. Nothing imports Ray before it is used.
"""
