"""What the actions of the chaos run perform: it says in one file when it begins and how it ends, and waits in between.

  work.py LOG SECONDS [fail=N] [stubborn] [steps=N]

It fails in the first N attempts; `stubborn` ignores SIGTERM; with steps it saves a checkpoint after each of N parts of its
work, and takes the work up where it was saved.

The file is the independent witness. Each line is one write to a file that is opened for appending, so that lines of
many processes do not mix:  TIME MARK RUN ACTION ATTEMPT FENCE AGENT-PID PID STEP, the time in seconds since 1970, the
mark `begin`, `step`, `done` or `failed`. Imports are few: this is started hundreds of times.
"""

import os
import sys
import time

log, seconds, flags = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
of = [os.environ[f"WINDLASS_{name}"] for name in ("RUN", "ACTION", "ATTEMPT", "FENCE")]
agent = os.getppid()
attempt, fence = int(of[2]), int(of[3])


def say(mark: str, step: int = 0) -> None:
    line = " ".join([f"{time.time():.6f}", mark, *of, str(agent), str(os.getpid()), str(step)]) + "\n"
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.write(file, line.encode())
    os.close(file)


if "stubborn" in flags:
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
def number(flag: str) -> int:
    return next((int(it.removeprefix(flag)) for it in flags if it.startswith(flag)), 0)


steps, first = number("steps="), int(os.environ.get("WINDLASS_CHECKPOINT", "0"))
say("begin", first)
for step in range(first, steps):
    time.sleep(seconds / steps)
    say("step", step + 1)
    with open(os.environ["WINDLASS_PROGRESS"], "a") as progress:
        progress.write(f'{{"checkpoint": {step + 1}}}\n')
if not steps:
    time.sleep(seconds)
if attempt <= number("fail="):
    say("failed")
    sys.exit("it fails because it was told to")
say("done")
print(f'{{"attempt": {attempt}, "fence": {fence}, "pid": {os.getpid()}}}')
