"""Writes one line about this run to out/notes.log."""

import datetime
import os
import pathlib
import sys


def main() -> None:
    folder = pathlib.Path("out")
    folder.mkdir(exist_ok=True)
    clock = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    line = f"{clock} run {os.environ['WINDLASS_RUN']}: service {sys.argv[1]}, disk {sys.argv[2]}\n"
    with (folder / "notes.log").open("a") as notes:
        notes.write(line)


if __name__ == "__main__":
    main()
