"""Files with secrets in them."""

import os
import pathlib


def write_private(path: pathlib.Path, text: str) -> None:
    """For the owner alone, and never seen half written."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)
