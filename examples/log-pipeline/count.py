"""Counts the requests of one access log by page and by status."""

import collections
import json
import os
import pathlib
import re
import sys

LINE = re.compile(r'^(?P<client>\S+) .* "GET (?P<page>\S+) [^"]*" (?P<status>\d{3}) (?P<size>\d+)$')
REPORT_EVERY = 20_000


def main() -> None:
    path = pathlib.Path(sys.argv[1])
    pages: collections.Counter[str] = collections.Counter()
    clients: set[str] = set()
    lines = errors = size = read = 0
    whole = max(path.stat().st_size, 1)
    with path.open() as log, open(os.environ["WINDLASS_PROGRESS"], "a", buffering=1) as progress:
        for line in log:
            lines += 1
            read += len(line)
            if lines % REPORT_EVERY == 0:
                progress.write(f"{100 * read / whole:.1f}% {lines} lines\n")
            found = LINE.match(line)
            if found is None:
                continue
            pages[found["page"]] += 1
            clients.add(found["client"])
            errors += found["status"].startswith("5")
            size += int(found["size"])
    counts = {"server": path.stem, "lines": lines, "errors": errors, "bytes": size}
    json.dump(counts | {"clients": len(clients), "pages": dict(pages)}, sys.stdout)


if __name__ == "__main__":
    main()
