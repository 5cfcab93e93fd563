"""The logs of all parts on one screen, each line with the name of its part."""

import pathlib
import sys
import time
from collections.abc import Callable

PAUSE_SECONDS = 0.2


class Followed:
    """What is appended to the files of a folder, from now on."""

    def __init__(self, folder: pathlib.Path, prefix: str):
        self.folder, self.prefix = folder, prefix
        self.read: dict[pathlib.Path, int] = {path: path.stat().st_size for path in folder.glob("*.log")}

    def lines(self) -> list[str]:
        return [line for path in sorted(self.folder.glob("*.log")) for line in self.lines_of(path)]

    def lines_of(self, path: pathlib.Path) -> list[str]:
        """Whole lines only; the rest of one that is being written comes with the next call."""
        with open(path, "rb") as file:
            file.seek(self.read.get(path, 0))
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self.read[path] = self.read.get(path, 0) + len(text)
        part = path.stem.removeprefix(self.prefix)
        return [f"{part:<18} | {line}" for line in text.decode(errors="replace").splitlines()]


def show(followed: Followed, until: Callable[[], bool]) -> None:
    while not until():
        for line in followed.lines():
            print(line)
        sys.stdout.flush()
        time.sleep(PAUSE_SECONDS)
