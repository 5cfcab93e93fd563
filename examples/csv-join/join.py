"""Joins orders with customers by the customer's number, and reports its progress."""

import collections
import csv
import json
import os
import pathlib
import sys

REPORT_EVERY = 5000


def main() -> None:
    files = json.load(sys.stdin)
    with open(files["customers"], newline="") as file:
        customers = {row["customer"]: row for row in csv.DictReader(file)}
    target = pathlib.Path("out", f"joined-{os.environ['WINDLASS_RUN']}.csv").resolve()
    spent: collections.Counter[str] = collections.Counter()
    rows = 0
    with (
        open(files["orders"], newline="") as source,
        target.open("w", newline="") as joined,
        open(os.environ["WINDLASS_PROGRESS"], "a", buffering=1) as progress,
    ):
        writer = csv.writer(joined)
        writer.writerow(["order", "name", "country", "cents"])
        for row in csv.DictReader(source):
            customer = customers[row["customer"]]
            writer.writerow([row["order"], customer["name"], customer["country"], row["cents"]])
            spent[customer["name"]] += int(row["cents"])
            rows += 1
            if rows % REPORT_EVERY == 0:
                progress.write(json.dumps({"message": f"{rows} rows"}) + "\n")
    best = spent.most_common(1)[0][0]
    json.dump({"file": str(target), "rows": rows, "best_customer": best}, sys.stdout)


if __name__ == "__main__":
    main()
