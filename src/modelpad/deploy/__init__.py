"""Writes folders that deploy models: each is taken as it is by a platform's own tool.

One module per target makes a `Plan` of a `Deployment`; the container image that most of them share
is described in `image`. Nothing here talks to a platform.
"""
