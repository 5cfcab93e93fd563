"""Joins the counts of all servers and ranks the pages."""

import collections
import json
import sys


def main() -> None:
    servers = json.load(sys.stdin)
    pages: collections.Counter[str] = collections.Counter()
    for server in servers:
        pages.update(server["pages"])
    lines = sum(server["lines"] for server in servers)
    worst = max(servers, key=lambda server: server["errors"] / max(server["lines"], 1))
    ranking = {
        "requests": lines,
        "errors": sum(server["errors"] for server in servers),
        "worst_server": worst["server"],
        "top_pages": dict(pages.most_common(5)),
    }
    json.dump(ranking, sys.stdout)


if __name__ == "__main__":
    main()
