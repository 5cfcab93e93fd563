"""Looks at the disk that this folder is on; fails if it is too full."""

import json
import os
import pathlib
import shutil
import sys


def main() -> None:
    full_at = int(sys.argv[1])
    usage = shutil.disk_usage(".")
    percent = round(100 * usage.used / usage.total)
    if percent >= full_at:
        error = {"kind": "disk.full", "message": f"the disk is {percent} % full; {full_at} % is too much"}
        pathlib.Path(os.environ["WINDLASS_ERROR"]).write_text(json.dumps(error))
        sys.exit(1)
    json.dump({"used_percent": percent, "free_bytes": usage.free}, sys.stdout)


if __name__ == "__main__":
    main()
