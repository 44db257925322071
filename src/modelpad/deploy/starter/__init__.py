"""A small project to start from: a training script or recipe, data, tests, and a `Makefile`."""

from modelpad.deploy.starter.project import Project, write_project

__all__ = ["Project", "write_project"]
