"""Runs ministack with what it lacks put in: every difference to AWS that Windlass would meet is mended here and nowhere else.

Started by `up` as a process of its own; settings come from the environment as ministack's own do (GATEWAY_PORT, BIND_HOST).
Each patch names the gap. They are written for the version that requirements.txt pins.
"""

import datetime
import functools
import re
import time
import uuid
import zoneinfo

from ministack import app
from ministack.services import eventbridge, lambda_svc, scheduler

TICK_SECONDS = 1


def main() -> None:
    tick_each_second()
    take_numbers_as_numbers()
    app.main()


def tick_each_second() -> None:
    """Gap: schedules and scheduled rules are looked at every 10 s only; AWS starts them within the second or so."""
    scheduler._SCHEDULE_TICK_INTERVAL = TICK_SECONDS
    eventbridge._SCHEDULER_TICK_INTERVAL = TICK_SECONDS


def take_numbers_as_numbers() -> None:
    """Gap: CloudFormation hands a Number parameter on as text, and a mapping's MaximumConcurrency is then compared with a number."""
    concurrency = lambda_svc._sqs_esm_concurrency

    @functools.wraps(concurrency)
    def with_numbers(esm, func_rec, config, queue=None):
        scaling = esm.get("ScalingConfig") or {}
        if isinstance(scaling.get("MaximumConcurrency"), str):
            scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
        return concurrency(esm, func_rec, config, queue)

    lambda_svc._sqs_esm_concurrency = with_numbers


if __name__ == "__main__":
    main()
