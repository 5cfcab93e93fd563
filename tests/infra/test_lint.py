"""cfn-lint knows AWS's own schema of each resource."""

import pathlib
import subprocess
import sys
import unittest

from . import template

CFN_LINT = pathlib.Path(sys.executable).parent / "cfn-lint"
REGIONS = ["us-east-1", "eu-central-1", "ap-southeast-2"]


def lint(path: pathlib.Path) -> tuple[int, str]:
    done = subprocess.run([CFN_LINT, "--regions", *REGIONS, "--", path], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


class Lint(unittest.TestCase):
    def test_the_template_is_clean(self):
        self.assertEqual(lint(template.PATH), (0, ""))


if __name__ == "__main__":
    unittest.main()
