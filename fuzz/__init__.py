"""Fuzz targets for everything that decodes bytes from outside. See `README.md` in this folder."""
