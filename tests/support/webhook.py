"""A receiver of notifications on loopback, and the block that has Prefect send them there."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from tests.support.site import Site

TOKEN = "planted-token"  # noqa: S105


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the URL of a server that takes notifications, and those it has taken."""
    taken: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            """Be any page of another address."""
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>elsewhere</title>")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()


def make_channel(site: Site, url: str) -> None:
    """Make the notification block that is named retrain, as a person would in the UI."""
    kind = site.request("block_types/slug/custom-webhook")
    (schema, *_) = site.request(
        "block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}}
    )
    data = {
        "name": "hook",
        "url": url,
        "method": "POST",
        "json_data": {"subject": "{{subject}}", "body": "{{body}}"},
        "headers": {"Token": "{{token}}"},
        "secrets": {"token": TOKEN},
        "allow_private_urls": True,
    }
    site.request(
        "block_documents/",
        {"name": "retrain", "data": data, "block_schema_id": schema["id"], "block_type_id": kind["id"]},
    )
