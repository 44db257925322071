"""Value objects that a server is started with."""

from __future__ import annotations

from modelpad.server.options import MB, LimitOptions, NetworkOptions


def test_requests_in_flight_may_hold_eight_bodies_unless_told_otherwise() -> None:
    assert LimitOptions(max_body_bytes=MB).inflight_bytes == 8 * MB
    assert LimitOptions(max_body_bytes=MB, max_inflight_bytes=3 * MB).inflight_bytes == 3 * MB


def test_routes_of_a_cloud_lead_to_ours() -> None:
    assert NetworkOptions().map_routes("digits") == {}
    network = NetworkOptions(predict_route="/ask", health_route="/health")
    assert network.map_routes("digits") == {
        "/ask": "/v1/models/digits:predict",
        "/health": "/readyz",
    }
