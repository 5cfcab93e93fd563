"""Writes the report of this run as Markdown."""

import json
import os
import pathlib


def table(title: str, cents: dict[str, int]) -> list[str]:
    lines = [f"| {title} | sales |", "|---|---:|"]
    return lines + [f"| {name} | {amount / 100:,.2f} |" for name, amount in cents.items()] + [""]


def main() -> None:
    run = os.environ["WINDLASS_RUN"]
    folder = pathlib.Path("out")
    source = folder / f"totals-{run}.json"
    totals = json.loads(source.read_text())
    lines = [f"# Sales of {totals['day']}", "", f"{totals['sales']} sales, {totals['cents'] / 100:,.2f} in all.", ""]
    lines += table("region", totals["regions"]) + table("product", totals["products"])
    report = folder / f"report-{totals['day']}.md"
    # A second attempt, or a second run of the day, replaces the file whole.
    draft = folder / f"report-{run}.tmp"
    draft.write_text("\n".join(lines))
    draft.replace(report)
    output = {"report": str(report.resolve()), "day": totals["day"], "cents": totals["cents"]}
    pathlib.Path(os.environ["WINDLASS_OUTPUT"]).write_text(json.dumps(output))


if __name__ == "__main__":
    main()
