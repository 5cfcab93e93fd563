"""A small charts service: POST /charts takes rows and answers with a bar for each region, as text.

Usage: python3 charts_server.py [PORT]
"""

import collections
import http.server
import json
import sys

MAX_BODY = 1024 * 1024


class Charts(http.server.BaseHTTPRequestHandler):
    """Answers POST /charts; everything else is not found."""

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        if self.path != "/charts" or not 0 < length <= MAX_BODY:
            self.send_error(404)
            return
        pieces: collections.Counter[str] = collections.Counter()
        for row in json.loads(self.rfile.read(length)):
            pieces[row["region"]] += row["pieces"]
        charts = {name: "#" * (count // 5) for name, count in pieces.most_common()}
        body = json.dumps({"charts": charts}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Charts) as server:
        print(f"charts at http://127.0.0.1:{server.server_port}/charts", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
