#!/usr/bin/env python3
"""Plays stories on a local AWS stack of its own: real Lambdas, real agents, an independent subscriber, real kills.

  tests/aws/stories.py [--only NAME ...] [--keep]   needs the programs (cargo build --release) and localstack/venv

Stories that mostly wait are played side by side; those that measure or kill are played alone.
"""

import argparse
import concurrent.futures
import sys
import time

import stack as stacks

stacks.in_venv()

from agents import agent_dies, foreign_agent, foreign_agent_hands_back, unserved_pool  # noqa: E402
from bad_input import bad_input  # noqa: E402
from crashes import process_manager_killed  # noqa: E402
from refused import program_is_refused  # noqa: E402
from runs import nightly_diamond, quick_start, schedule_fires, submit_and_wait  # noqa: E402
from survival import (  # noqa: E402
    blackout, deadline_passes, kills_are_acknowledged, one_action_is_killed, rolling_deploy, zombie_wakes,
)

# Of the other pools the stories start the agents themselves.
POOLS = ("default:2:10", "spare:0", "haunted:0", "python:0", "manual:0", "rolling:0", "kills:0", "single:0",
         "blackout:0", "unserved:0", "foreign:0", "guarded:0", "intruders:0")
ROUNDS = (
    (nightly_diamond,),
    (schedule_fires, quick_start, agent_dies, zombie_wakes, foreign_agent, foreign_agent_hands_back,
     unserved_pool, program_is_refused),
    (rolling_deploy, kills_are_acknowledged, one_action_is_killed, deadline_passes),
    (submit_and_wait,),
    (process_manager_killed,),
    (blackout,),
    (bad_input,),
)


def play(stack: stacks.Stack, only: list[str]) -> int:
    """Plays the rounds one after another, the stories of a round together; how many failed."""
    failed = 0
    for stories in ROUNDS:
        chosen = [story for story in stories if not only or story.__name__ in only]
        with concurrent.futures.ThreadPoolExecutor(max(1, len(chosen))) as pool:
            playing = {pool.submit(timed, story, stack): story for story in chosen}
            for done in concurrent.futures.as_completed(playing):
                story = playing[done]
                if error := done.exception():
                    failed += 1
                    print(f"{story.__name__}: FAILED: {error!r}", flush=True)
                else:
                    print(f"{story.__name__}: {done.result()}", flush=True)
    return failed


def timed(story, stack: stacks.Stack) -> str:
    started = time.monotonic()
    facts = story(stack)
    return f"{facts} [{time.monotonic() - started:.0f} s]"


def main() -> int:
    names = [story.__name__ for stories in ROUNDS for story in stories]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="NAME", help=", ".join(names))
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    options = parser.parse_args()
    started = time.monotonic()
    stack = stacks.Stack(*POOLS)
    try:
        print(f"the stack {stack.name} is up at {stack.url} after {stack.took:.0f} s", flush=True)
        failed = play(stack, options.only)
    finally:
        stack.down()
    if failed or options.keep:
        print(f"the logs are in {stack.folder}")
    else:
        stack.forget()
    played = len(options.only) or len(names)
    print(f"{played - failed} passed, {failed} failed, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
