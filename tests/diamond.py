"""The nightly diamond of SCENARIOS 1, for every host: what is played, and what its runs must look like."""

from datetime import datetime

from recovery import check_run, expect

# B and C wait for each other: they end only if they overlap. Each says when its work was done, by the machine's clock.
DEFINITION = """
task: diamond
schedule: {{ every: {every}, overlap: {overlap} }}
defaults: {{ timeout: 5m }}
actions:
  a: {{ exec: [date, +%s.%N] }}
  b:
    needs: [a]
    exec: [sh, -c, ': > "b-$WINDLASS_RUN"; until [ -e "c-$WINDLASS_RUN" ]; do sleep 0.02; done; date +%s.%N']
  c:
    needs: [a]
    allow_failure: true
    exec: [sh, -c, ': > "c-$WINDLASS_RUN"; until [ -e "b-$WINDLASS_RUN" ]; do sleep 0.02; done; date +"no room %s.%N" >&2; exit 3']
  d: {{ needs: [b, c], exec: ["true"] }}
"""


def seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def edges(host, run: dict) -> list[float]:
    """Checks a run that has ended. From the end of each need's work to the start of what needs it, in seconds: report,
    decision and delivery."""
    actions = run["actions"]
    error = actions["c"]["error"]
    expect(error["kind"] == "exit.3", f"c fails with its exit code: {error}")
    expect("no room" in error["message"], "the tail of its output is kept")
    expect(actions["d"]["attempts"] == 1, "d starts once")
    expect((faults := check_run(host, run["id"])) == [], "\n".join(faults))
    ends = {"a": float(actions["a"]["output"]), "b": float(actions["b"]["output"]), "c": float(error["message"].split()[-1])}
    starts = {name: seconds(action["started_at"]) for name, action in actions.items()}
    return [starts["b"] - ends["a"], starts["c"] - ends["a"], starts["d"] - max(ends["b"], ends["c"])]


def cost(overheads: list[float]) -> str:
    """What an edge costs. The aims, 20 ms on one machine and 1 s on AWS, are printed beside it and not asserted: a busy
    machine is no fault of the product. That work waits for a look at a queue instead of being woken would be one."""
    ordered = sorted(overheads)
    p50, p95 = (ordered[int(len(ordered) * part)] * 1000 for part in (0.5, 0.95))
    expect(p50 <= 5000, f"an edge costs {p50:.0f} ms (p50)")
    return f"an edge costs {p50:.0f} ms (p50), {p95:.0f} ms (p95)"
