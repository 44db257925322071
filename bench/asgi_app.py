"""An ASGI app that serves the bundled digits, for `http_servers.py`."""

from modelpad.bundle import open_bundle
from modelpad.server import App, ModelTable, ServedModel
from modelpad.zoo import zoo_bundles

app = App(ModelTable([ServedModel.load("digits", 1, open_bundle(zoo_bundles()["digits"]))]))
