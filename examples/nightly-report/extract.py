"""Gives the sales of a day as JSON: the same day gives the same sales."""

import datetime
import json
import random
import sys

REGIONS = ["north", "south", "east", "west"]
PRODUCTS = ["rope", "anchor", "winch", "chain", "lamp"]


def main() -> None:
    day = sys.argv[1] if len(sys.argv) > 1 else "today"
    if day == "today":
        day = datetime.date.today().isoformat()
    datetime.date.fromisoformat(day)
    chance = random.Random(day)
    rows = [
        {
            "region": chance.choice(REGIONS),
            "product": chance.choice(PRODUCTS),
            "pieces": chance.randint(1, 9),
            "cents": chance.randint(500, 20_000),
        }
        for _ in range(120)
    ]
    json.dump({"day": day, "rows": rows}, sys.stdout)


if __name__ == "__main__":
    main()
