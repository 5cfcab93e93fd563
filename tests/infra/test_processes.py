"""`down` ends just what `up` started."""

import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

from .template import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "localstack"))

from stack import up  # noqa: E402
from stack.processes import Process, Processes, reap, start_time  # noqa: E402
from stack.settings import Pool, Refused, for_up  # noqa: E402

GRACE_SECONDS = 10


class Started(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.processes = Processes(self.folder / "run")

    def start(self, script: str) -> Process:
        return self.processes.start("part", ["/bin/sh", "-c", script], dict(os.environ), self.folder, self.folder / "part.log")

    def test_it_is_known_until_it_is_stopped(self):
        started = self.start("exec sleep 600")
        self.assertEqual(self.processes.running("part"), started)
        self.processes.stop([started], GRACE_SECONDS)
        self.assertIsNone(self.processes.running("part"))
        self.assertEqual(self.processes.all(), [])

    def test_its_children_go_with_it(self):
        """Also when it has been killed before: a Lambda must not outlive its emulator."""
        started = self.start("sleep 600 & echo $! > child; wait")
        child = self.wait_for_child()
        os.kill(started.pid, signal.SIGKILL)
        self.wait_for_end(started)
        self.processes.stop([started], GRACE_SECONDS)
        # It was killed; whoever adopted it takes note of its end some time later.
        while start_time(child) is not None:
            time.sleep(0.01)

    def wait_for_end(self, process: Process) -> None:
        while process.is_alive():
            reap()
            time.sleep(0.01)

    def wait_for_child(self) -> int:
        path = self.folder / "child"
        while not (path.exists() and path.read_text().endswith("\n")):
            time.sleep(0.01)
        return int(path.read_text())

    def test_one_that_does_not_listen_is_killed(self):
        started = self.start("trap '' TERM; echo $$ > child; while :; do sleep 600; done")
        self.wait_for_child()
        self.processes.stop([started], 0.2)
        self.wait_for_end(started)

    def test_another_process_of_the_same_id_is_left_alone(self):
        stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self.addCleanup(stranger.wait)
        self.addCleanup(stranger.kill)
        (self.folder / "run").mkdir()
        record = {"name": "part", "pid": stranger.pid, "started": "another time", "made_of": ""}
        (self.folder / "run" / "part.json").write_text(json.dumps(record))
        self.processes.stop(self.processes.all(), 0.2)
        self.assertIsNone(stranger.poll())
        self.assertEqual(self.processes.all(), [])


class Environment(unittest.TestCase):
    def test_a_profile_is_not_used_and_the_shell_is_told_so(self):
        with unittest.mock.patch.dict(os.environ, AWS_PROFILE="nobody-has-it"):
            with contextlib.redirect_stdout(io.StringIO()) as shell, contextlib.redirect_stderr(io.StringIO()) as people:
                up.forget_profile()
            self.assertNotIn("AWS_PROFILE", os.environ)
        self.assertEqual(shell.getvalue(), "unset AWS_PROFILE\n")
        self.assertIn("`nobody-has-it`", people.getvalue())


class Settings(unittest.TestCase):
    def test_pools(self):
        self.assertEqual(Pool.parse("gpu"), Pool("gpu", 2, 10))
        self.assertEqual(Pool.parse("gpu:0"), Pool("gpu", 0, 10))
        self.assertEqual(Pool.parse("gpu:3:7"), Pool("gpu", 3, 7))

    def test_what_is_refused(self):
        for arguments, said in [
            (["--pool", "a-b"], "is not a pool"),
            (["--pool", "a:x"], "is not a pool"),
            (["--pool", "a", "--pool", "a:3"], "named twice"),
            (["--name", "Windlass"], "is not a name"),
            (["--name", "prod-pool-x"], "is not a name"),
            (["--port", "80"], "is not a port"),
            (["--parameter", "AgentSlots"], "is not a parameter"),
            (["--parameter", "AgentImage=x"], "is for AWS"),
        ]:
            with self.subTest(arguments), self.assertRaisesRegex(Refused, said):
                for_up(arguments)


if __name__ == "__main__":
    unittest.main()
