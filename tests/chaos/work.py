"""What the actions of the chaos run perform: it says in one file when it begins and how it ends, and waits in between.

  work.py LOG SECONDS [fail=N] [stubborn]     fails in the first N attempts; stubborn ignores SIGTERM

The file is the independent witness. Each line is one write to a file that is opened for appending, so that lines of
many processes do not mix:  TIME MARK RUN ACTION ATTEMPT FENCE AGENT-PID PID TASK, the time in seconds since 1970, the
mark `begin`, `done` or `failed`. Imports are few: this is started hundreds of times.
"""

import os
import sys
import time

log, seconds, flags = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
of = [os.environ[f"WINDLASS_{name}"] for name in ("RUN", "ACTION", "ATTEMPT", "FENCE")]
agent = os.getppid()
attempt, fence = int(of[2]), int(of[3])


def say(mark: str) -> None:
    line = " ".join([f"{time.time():.6f}", mark, *of, str(agent), str(os.getpid()), os.environ["WINDLASS_TASK"]]) + "\n"
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.write(file, line.encode())
    os.close(file)


if "stubborn" in flags:
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
say("begin")
time.sleep(seconds)
fails = next((int(flag[5:]) for flag in flags if flag.startswith("fail=")), 0)
if attempt <= fails:
    say("failed")
    sys.exit("it fails because it was told to")
say("done")
print(f'{{"attempt": {attempt}, "fence": {fence}, "pid": {os.getpid()}}}')
