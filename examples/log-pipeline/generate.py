"""Writes the access logs of four servers to out/RUN, and gives their paths."""

import json
import os
import pathlib
import random
import sys

SERVERS = ["berlin", "lisbon", "oslo", "vienna"]
PAGES = ["/", "/about", "/prices", "/docs", "/docs/install", "/login", "/search", "/feed.xml"]
STATUS = [200, 200, 200, 200, 200, 200, 304, 404, 500]


def log_lines(server: str, count: int, seed: int):
    chance = random.Random(f"{server} {seed}")
    # Pages that are asked for as often as their place in a shuffled list says.
    pages = chance.sample(PAGES, len(PAGES))
    weights = [1 / (place + 1) for place in range(len(pages))]
    asked = chance.choices(pages, weights, k=count)
    answers = chance.choices(STATUS, k=count)
    for at, (page, status) in enumerate(zip(asked, answers)):
        clock = f"{at * 86_400 // count // 3600:02}:{at * 1440 // count % 60:02}"
        yield f'10.0.{at % 250}.{at % 199} - - [01/Mar/2026:{clock}] "GET {page} HTTP/1.1" {status} {at % 9973}\n'


def main() -> None:
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    folder = pathlib.Path("out", os.environ["WINDLASS_RUN"]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with open(os.environ["WINDLASS_PROGRESS"], "a", buffering=1) as progress:
        for at, server in enumerate(SERVERS):
            progress.write(f"{100 * at // len(SERVERS)}% {server}\n")
            path = folder / f"{server}.log"
            with path.open("w") as log:
                log.writelines(log_lines(server, count, seed))
            files.append(str(path))
    json.dump({"folder": str(folder), "files": files}, sys.stdout)


if __name__ == "__main__":
    main()
