"""Fetches a table as CSV. The source of the customers is away at the first attempt."""

import csv
import json
import os
import pathlib
import random
import sys

TEMPORARY_FAILURE = 75


def customers(count: int, chance: random.Random):
    yield "customer", "name", "country"
    for number in range(count):
        yield number, f"Customer {number}", chance.choice(["AT", "DE", "NO", "PT"])


def orders(count: int, chance: random.Random):
    yield "order", "customer", "cents"
    for number in range(count):
        yield number, int(500 * chance.random() ** 2), chance.randint(100, 50_000)


def main() -> None:
    table = sys.argv[1]
    if table == "customers" and os.environ["WINDLASS_ATTEMPT"] == "1":
        pathlib.Path(os.environ["WINDLASS_ERROR"]).write_text(
            json.dumps({"kind": "source.away", "message": "the source of the customers does not answer yet"})
        )
        sys.exit(TEMPORARY_FAILURE)
    rows = {"customers": customers, "orders": orders}[table](int(os.environ["ROWS"]), random.Random(table))
    folder = pathlib.Path("out")
    folder.mkdir(exist_ok=True)
    path = folder / f"{table}-{os.environ['WINDLASS_RUN']}.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    json.dump({"file": str(path.resolve())}, sys.stdout)


if __name__ == "__main__":
    main()
