"""Exports a model to a web page that runs it without a server, with ONNX Runtime Web.

The page is the server's own, with another transport: `browser/` has the modules that stand in for
fields, steps and the engine. `site` writes a folder, `one_file` a single file, and `check` compares
the predictions of either in Chromium with those of modelpad.
"""
