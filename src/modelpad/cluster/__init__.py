"""Runs modelpad on the machines of a Ray cluster.

`replica` makes the app of one replica, `serving` keeps as many of them as the requests need, and
`connection` finds the cluster. Only these modules import Ray.
"""
