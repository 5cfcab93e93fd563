"""The public API, asked by somebody who asks again: the other end is killed all the time."""

import http.client
import json
import time
import urllib.error
import urllib.request

# A host is away for seconds, its answer at most for as long as a lost batch is hidden.
ANSWER_WITHIN_S = 300


class Unavailable(Exception):
    """Nobody answered, or nobody who could."""


class Refused(Exception):
    """An answer that asking again does not change."""

    def __init__(self, status: int, body: str):
        super().__init__(f"{status}: {body[:500]}")
        self.status = status


def ask(url: str, token: str, method: str, path: str, body=None, **headers: str):
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/json")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        if error.code >= 500 or error.code == 429:
            raise Unavailable(f"{error.code}: {said[:300]}") from None
        raise Refused(error.code, said) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(repr(error)) from None


def again(call, *arguments, **headers):
    """Asks until there is an answer."""
    until = time.monotonic() + ANSWER_WITHIN_S
    while True:
        try:
            return call(*arguments, **headers)
        except Unavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def pages(call, path: str, entries: str, cursor: str) -> list:
    """All entries of a list."""
    found, after = [], ""
    while True:
        page = again(call, "GET", f"{path}{'&' if '?' in path else '?'}limit=500{after}")
        found += page[entries]
        if page.get("next") is None or not page[entries]:
            return found
        after = f"&{cursor}={page['next']}"
