"""The launcher's clock keeps EventBridge Scheduler's rules: time zones, both nights of the year that clocks change, drift."""

import sys
import unittest
from datetime import datetime

from .template import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "localstack"))

import emulator  # noqa: E402

BERLIN = "Europe/Berlin"
# Expression, zone, after when, the times that follow (all UTC).
CASES = [
    ("rate(1 minute)", "UTC", "2026-01-01T10:00:07Z", ["2026-01-01T10:01:07Z", "2026-01-01T10:02:07Z"]),
    ("cron(0 9 * * ? *)", BERLIN, "2026-01-01T10:00:00Z", ["2026-01-02T08:00:00Z"]),
    ("cron(0 9 * * ? *)", BERLIN, "2026-07-01T10:00:00Z", ["2026-07-02T07:00:00Z"]),
    # 02:30 is skipped on 29 March 2026, and comes twice on 25 October 2026: it counts once, as the first of the two.
    ("cron(30 2 * * ? *)", BERLIN, "2026-03-27T12:00:00Z", ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]),
    ("cron(30 2 * * ? *)", BERLIN, "2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    ("cron(0/30 * * * ? *)", "Asia/Kolkata", "2026-01-01T10:00:00Z", ["2026-01-01T10:30:00Z", "2026-01-01T11:00:00Z"]),
    ("at(2026-05-01T12:00:00)", BERLIN, "2026-04-01T00:00:00Z", ["2026-05-01T10:00:00Z", None]),
]


def seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class NextTime(unittest.TestCase):
    def test_cases(self):
        for expression, zone, after, expected in CASES:
            with self.subTest(f"{expression} {zone} after {after}"):
                schedule = {"ScheduleExpression": expression, "ScheduleExpressionTimezone": zone}
                time = seconds(after)
                for due in expected:
                    time = emulator.next_time(schedule, time)
                    self.assertEqual(time, due and seconds(due))

    def test_the_start_counts(self):
        schedule = {"ScheduleExpression": "rate(1 hour)", "StartDate": seconds("2026-02-01T00:00:30Z")}
        first = emulator.next_time(schedule, seconds("2026-01-01T00:00:00Z"))
        self.assertEqual(first, seconds("2026-02-01T00:00:30Z"))
        self.assertEqual(emulator.next_time(schedule, first), seconds("2026-02-01T01:00:30Z"))


class Context(unittest.TestCase):
    def test_the_input_tells_when_it_was_due(self):
        told = emulator.with_context('{"at":"<aws.scheduler.scheduled-time>","by":"<aws.scheduler.schedule-arn>"}', {"Arn": "arn:x"}, seconds("2026-01-01T00:00:07Z"))
        self.assertEqual(told, '{"at":"2026-01-01T00:00:07Z","by":"arn:x"}')


if __name__ == "__main__":
    unittest.main()
