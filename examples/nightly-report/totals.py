"""Adds up the sales it reads on standard input: by region and by product."""

import collections
import json
import os
import pathlib
import sys


def main() -> None:
    sales = json.load(sys.stdin)
    regions: collections.Counter[str] = collections.Counter()
    products: collections.Counter[str] = collections.Counter()
    for row in sales["rows"]:
        cents = row["pieces"] * row["cents"]
        regions[row["region"]] += cents
        products[row["product"]] += cents
    totals = {
        "day": sales["day"],
        "sales": len(sales["rows"]),
        "cents": sum(regions.values()),
        "regions": dict(regions.most_common()),
        "products": dict(products.most_common()),
    }
    # publish.py reads it from here; the name has the run's id, so runs do not meet.
    folder = pathlib.Path("out")
    folder.mkdir(exist_ok=True)
    (folder / f"totals-{os.environ['WINDLASS_RUN']}.json").write_text(json.dumps(totals))
    json.dump(totals, sys.stdout)


if __name__ == "__main__":
    main()
