"""Stories of what a host must survive, told the same way on the embedded host and on the local AWS stack.

Each takes a `site`: `tests/scenarios.py` and `tests/aws/stack.py` make one. The programs write what they do to a file of
the story, one line each, and so bear witness of it. Bounds that are the product's own are asserted with room for a busy
machine; the figures are printed.
"""

import collections
import concurrent.futures
import json
import pathlib
import signal
import time
import urllib.error

from diamond import seconds
from recovery import COMPLETIONS, ENDED, PATIENCE_S, check_run, events_of, expect, wait_for

VISIBILITY_S = 30
# Each action is long where it runs first and short where it runs again; it says which fence it had. The second one
# ends where it ran first while its agent stands still.
ZOMBIE = """
task: zombie
defaults: {{ pool: {pool}, timeout: 10m }}
actions:
  long:
    exec: [sh, -c, 'if mkdir "$1/long"; then echo $$ > "$1/long/pid"; sleep 300; else sleep 1; fi; echo $WINDLASS_FENCE', sh, {folder}]
  stale:
    exec: [sh, -c, 'if mkdir "$1/stale"; then echo $$ > "$1/stale/pid"; until [ -e "$1/over" ]; do sleep 0.1; done; else sleep 1; fi; echo $WINDLASS_FENCE', sh, {folder}]
"""
# One line is one write to a file that is opened for appending.
STEP = 'say() { echo "$1 $WINDLASS_RUN $WINDLASS_ACTION $WINDLASS_ATTEMPT $WINDLASS_FENCE $$ $2" >> "$0"; }; '


def folder_of(site, name: str) -> pathlib.Path:
    folder = site.folder / name
    folder.mkdir()
    return folder


def is_alive(pid: int) -> bool:
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_on(site, run: str, agent: str | None) -> bool:
    actions = site.run(run)["actions"].values()
    return all(a["status"] in {"running", "succeeded"} and a["agent"] == agent for a in actions)


def busy_of(site, agent: str) -> int | None:
    agents = site.call("GET", "/v1/agents")["agents"]
    return next((it["busy"] for it in agents if it["id"] == agent), None)


def held_up(child, works) -> float:
    """SIGSTOP, at a moment at which the rest goes on: on the embedded host all processes write to one file, and one that
    is stopped in the midst of a write holds up all others. When it was."""
    while True:
        child.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        if works():
            return stopped
        child.send_signal(signal.SIGCONT)
        time.sleep(0.5)


def zombie_wakes(site) -> str:
    """SCENARIOS 3."""
    pool, folder = "haunted", folder_of(site, "haunted")
    site.apply(ZOMBIE.format(pool=pool, folder=json.dumps(str(folder))))
    first = site.agent(pool)
    first_id = wait_for("the first agent to register", lambda: site.agent_id(first))
    run = site.start("zombie")["id"]
    wait_for("both actions to run on the first agent", lambda: all_on(site, run, first_id))
    stopped = held_up(first, site.writes)
    second = site.agent(pool)
    wait_for("the run to end on the second agent", lambda: site.run(run)["status"] in ENDED)
    taken_over = time.monotonic() - stopped
    program, stale = (int((folder / name / "pid").read_text()) for name in ("long", "stale"))
    expect(is_alive(program) and is_alive(stale), "the programs of the stopped agent still run")
    (folder / "over").touch()
    wait_for("the stale program to end", lambda: not is_alive(stale))
    first.send_signal(signal.SIGCONT)
    woken = time.monotonic()
    wait_for("the zombie's work to be stopped", lambda: not is_alive(program))
    beat = time.monotonic() - woken
    # The aim is one beat, a sixth of the visibility timeout. Nobody else would stop it for as long as it sleeps.
    expect(beat <= VISIBILITY_S, f"the zombie's work was stopped only after {beat:.0f} s")
    wait_for("the zombie to have nothing left to report", lambda: busy_of(site, first_id) == 0)
    site.wait_until_decided()
    view = site.run(run)
    second_id = site.agent_id(second)
    for name, action in view["actions"].items():
        expect(action["agent"] == second_id, f"{name} is the second owner's")
        expect((action["attempts"], action["output"]) == (1, 2), f"{name}: one attempt, the second fence: {action}")
    expect((faults := check_run(site, run)) == [], "\n".join(faults))
    for child in (first, second):
        child.terminate()
        child.wait(timeout=PATIENCE_S)
    return f"taken over {taken_over:.0f} s after SIGSTOP; its work stopped {beat:.1f} s after SIGCONT, its report refused"


ROLLING_RUNS, ROLLING_ACTIONS, ROLLING_AGENTS = 4, 50, 4
ROLLING_DRAIN_S = 6


RESUMING_STEPS = 40
# One that is past each deadline: it goes on where it was saved, and does no step twice but the one that was broken off.
RESUMING = 'n=${WINDLASS_CHECKPOINT:-0}; say begin $n; while [ $n -lt "$1" ]; do sleep 1; n=$((n + 1)); '
RESUMING += 'echo "{\\"checkpoint\\": $n}" >> "$WINDLASS_PROGRESS"; say step $n; done'


def rolling_deploy(site) -> str:
    """SCENARIOS 5: 200 actions of 5 to 25 s in flight, and one of 40 s, while the fleet is replaced twice."""
    pool, log = "rolling", folder_of(site, "rolling") / "log"
    script = STEP + 'say begin; sleep "$1"; say done'
    lines = ["task: rolling", f"defaults: {{ pool: {pool}, retry: {{ attempts: 5, delay: 100ms }} }}", "actions:"]
    for n in range(ROLLING_ACTIONS):
        seconds = 5 + 20 * n / (ROLLING_ACTIONS - 1)
        lines.append(f"  a{n}: {{ exec: {json.dumps(['sh', '-c', script, str(log), f'{seconds:.1f}'])} }}")
    site.apply("\n".join(lines) + "\n")
    saved = site.folder / "rolling" / "saved"
    command = json.dumps(["sh", "-c", STEP + RESUMING, str(saved), str(RESUMING_STEPS)])
    site.apply(f"task: resuming\nactions:\n  a: {{ pool: {pool}, exec: {command} }}\n")
    slots = ROLLING_RUNS * ROLLING_ACTIONS // ROLLING_AGENTS
    fleet = lambda: [site.agent(pool, slots=slots + 10, drain=f"{ROLLING_DRAIN_S}s") for _ in range(ROLLING_AGENTS)]
    agents = fleet()
    runs = [site.start("rolling")["id"] for _ in range(ROLLING_RUNS)]
    all_actions = ROLLING_RUNS * ROLLING_ACTIONS
    wait_for(f"{all_actions} actions to be in flight", lambda: len(said(log, "begin")) >= all_actions)
    letters = site.letters()
    resuming = site.start("resuming")["id"]
    wait_for("the action that saves its steps to be under way", lambda: len(said(saved, "step")) >= 2)
    gone = []
    for _ in range(2):
        for agent in agents:
            agent.terminate()
        gone, agents = gone + agents, fleet()
        asked = time.monotonic()
        for agent in gone:
            # Its deadline, the end of its programs, its reports.
            expect(agent.wait(timeout=PATIENCE_S) == 0, "an agent that drains ends with 0")
        drained = time.monotonic() - asked
    wait_for("all runs to end", lambda: all(site.run(run)["status"] in ENDED for run in [*runs, resuming]))
    for run in runs:
        expect((faults := check_run(site, run)) == [], "\n".join(faults))
        attempts = {name: action["attempts"] for name, action in site.run(run)["actions"].items() if action["attempts"] != 1}
        expect(not attempts, f"handing back spends no attempt: {attempts}")
    begun = collections.Counter((run, action) for run, action, *_ in said(log, "begin"))
    expect(len(begun) == all_actions, f"{len(begun)} of {all_actions} actions were performed")
    expect(len({tuple(it[:4]) for it in said(log, "begin")}) == len(said(log, "begin")), "each start has a fence of its own")
    for agent in agents:
        agent.terminate()
        agent.wait(timeout=PATIENCE_S)
    expect(site.letters() == letters, "nothing is dead-lettered")
    again = sum(begun.values()) - all_actions
    starts = check_resumed(site, resuming, saved)
    return (f"{all_actions} actions in flight, {ROLLING_AGENTS} agents replaced twice, the last ones within {drained:.0f} s; none "
            f"lost, no attempt spent, {again} times one was handed back and begun elsewhere; one of {RESUMING_STEPS} steps went on from steps {starts}")


def check_resumed(site, run: str, saved: pathlib.Path, steps: int = RESUMING_STEPS) -> list[int]:
    """At which steps an action was begun that saves a checkpoint after each of them."""
    expect((faults := check_run(site, run)) == [], "\n".join(faults))
    starts, done = [], 0
    for line in saved.read_text().splitlines():
        mark, step = line.split()[0], int(line.split()[-1])
        if mark == "begin":
            # It saves a step first and then says so: it may have been stopped between the two.
            expect(done <= step <= done + 1, f"it goes on from step {step}, and {done} were done")
            starts.append(step)
        done = step
    expect(done == steps and len(starts) >= 2, f"it went on elsewhere and was finished: {starts}, {done}")
    return starts


def said(log: pathlib.Path, mark: str) -> list[list[str]]:
    """What the programs said with that mark: run, action, attempt, fence, process."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1:] for line in lines if line.startswith(mark + " ")]


KILLS = """
task: kills
defaults: {{ pool: {pool} }}
actions:
  listens: {{ exec: [sleep, '120'] }}
"""
DEAF = """
task: deaf
defaults: {{ pool: {pool} }}
actions:
  deaf: {{ exec: [sh, -c, 'trap "" TERM; sleep 120'] }}
"""
RACE = """
task: race
defaults: {{ pool: {pool} }}
input: {{ type: object, properties: {{ seconds: {{ type: number }} }}, required: [seconds] }}
actions:
  first: {{ exec: [sleep, '${{{{ input.seconds }}}}'] }}
  second: {{ needs: [first], exec: ["true"] }}
"""
RACES = 40


def kills_are_acknowledged(site) -> str:
    """SCENARIOS 6, actions."""
    pool = "kills"
    for text in (KILLS, DEAF, RACE):
        site.apply(text.format(pool=pool))
    agent = site.agent(pool, slots=50)
    name = wait_for("the agent to register", lambda: site.agent_id(agent))
    listens, deaf = killed(site, "kills", name, 30), killed(site, "deaf", name, 60)
    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        views = list(clients.map(lambda n: race(site, 0.2 + 0.05 * n), range(RACES)))
    statuses = collections.Counter(view["status"] for view in views)
    expect(set(statuses) <= {"succeeded", "cancelled"}, f"a race ends one way or the other: {statuses}")
    for view in views:
        completed = collections.Counter(e["action"] for e in events_of(site, view["id"]) if e["type"] in COMPLETIONS)
        expect(set(completed) == set(view["actions"]) and max(completed.values()) == 1, f"one completion an action: {completed}")
    agent.terminate()
    expect(agent.wait(timeout=PATIENCE_S) == 0, "the agent has nothing left to do")
    return (f"a kill is acknowledged after {listens:.1f} s by an action that listens, {deaf:.1f} s by one that does not; "
            f"{RACES} kills that raced with the end: {dict(statuses)}")


def killed(site, task: str, agent: str, at_most: float) -> float:
    """How long it takes from a cancellation of a running action to its acknowledgement by its agent."""
    run = site.start(task)["id"]
    wait_for(f"{task} to run", lambda: all(a["status"] == "running" for a in site.run(run)["actions"].values()))
    asked = time.monotonic()
    site.call("POST", f"/v1/runs/{run}/cancel", {"reason": "a kill"})
    wait_for(f"the kill of {task} to be acknowledged", lambda: site.run(run)["status"] == "cancelled")
    took = time.monotonic() - asked
    expect(took <= at_most, f"the kill of {task} was acknowledged only after {took:.0f} s")
    expect(all(a["status"] == "cancelled" for a in site.run(run)["actions"].values()), "the action is cancelled")
    named = [event["data"]["agent"] for event in events_of(site, run) if event["type"] == "action.cancelled"]
    expect(named == [agent], f"the agent that ended it says so: {named}")
    return took


def race(site, seconds: float) -> dict:
    run = site.start("race", {"seconds": 0.5})["id"]
    time.sleep(seconds)
    try:
        site.call("POST", f"/v1/runs/{run}/cancel", {"reason": "a race"})
    except Exception as refused:  # The run has ended: each site has an exception of its own for it.
        expect(status_of(refused) == 409, f"a run that has ended can not be cancelled: {refused!r}")
    wait_for("a race to end", lambda: site.run(run)["status"] in ENDED)
    return site.run(run)


# What is killed is one action; `beside` and `cleanup` are no concern of the kill, `after` is skipped by it.
SINGLE = """
task: {task}
defaults: {{ pool: {pool}, retry: {{ attempts: 5, delay: 1s }} }}
actions:
  victim: {{ exec: [sh, -c, '{program}'] }}
  beside: {{ exec: [sleep, "3"] }}
  after: {{ needs: [victim], exec: ["true"] }}
  cleanup: {{ needs: [victim], trigger: any_failed, exec: ["true"] }}
"""
LISTENS, IS_DEAF, RACES_ALONE = "exec sleep 120", 'trap "" TERM; sleep 120', 20


def one_action_is_killed(site) -> str:
    """One action of a run is killed, and the rest of the run goes on."""
    pool = "single"
    site.apply(SINGLE.format(task="single-listens", pool=pool, program=LISTENS))
    site.apply(SINGLE.format(task="single-deaf", pool=pool, program=IS_DEAF))
    site.apply(SINGLE.format(task="single-race", pool=pool, program="sleep 2"))
    agent = site.agent(pool, slots=60)
    name = wait_for("the agent to register", lambda: site.agent_id(agent))
    listens, deaf = killed_alone(site, "single-listens", name, 30), killed_alone(site, "single-deaf", name, 60)
    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        # Only when its agent has told of it, after 1.5 s, can a kill overtake its end.
        views = list(clients.map(lambda n: race_alone(site, 1.2 + 0.08 * n), range(RACES_ALONE)))
    victims = collections.Counter(view["actions"]["victim"]["status"] for view in views)
    expect(set(victims) <= {"succeeded", "cancelled"}, f"a race ends one way or the other: {victims}")
    for view in views:
        completed = collections.Counter(e["action"] for e in events_of(site, view["id"]) if e["type"] in COMPLETIONS)
        expect(set(completed) == set(view["actions"]) and max(completed.values()) == 1, f"one completion an action: {completed}")
        check_alone(view, view["actions"]["victim"]["status"] == "cancelled")
    agent.terminate()
    expect(agent.wait(timeout=PATIENCE_S) == 0, "the agent has nothing left to do")
    return (f"the kill of one action is acknowledged after {listens:.1f} s if it listens, {deaf:.1f} s if not, and the rest "
            f"goes on; {RACES_ALONE} that raced with the completion: {dict(victims)}")


def killed_alone(site, task: str, agent: str, at_most: float) -> float:
    """How long it takes from the kill of a running action to its acknowledgement by its agent."""
    run = site.start(task)["id"]
    victim = lambda: site.run(run)["actions"]["victim"]
    wait_for(f"the victim of {task} to run", lambda: victim()["status"] == "running")
    asked = time.monotonic()
    site.call("POST", f"/v1/runs/{run}/actions/victim/kill", {"reason": "it hangs"})
    wait_for(f"the kill of {task} to be acknowledged", lambda: victim()["status"] == "cancelled")
    took = time.monotonic() - asked
    expect(took <= at_most, f"the kill of {task} was acknowledged only after {took:.0f} s")
    expect(victim()["agent"] == agent, f"the agent that ended it says so: {victim()}")
    expect(victim()["error"] == {"kind": "killed", "message": "it hangs"}, f"it says why: {victim()}")
    wait_for(f"{task} to end", lambda: site.run(run)["status"] in ENDED)
    check_alone(site.run(run), True)
    return took


def check_alone(view: dict, was_killed: bool) -> None:
    found = {name: action["status"] for name, action in view["actions"].items()}
    follows = {"after": "skipped", "cleanup": "succeeded"} if was_killed else {"after": "succeeded", "cleanup": "skipped"}
    expect(found == {"victim": found["victim"], "beside": "succeeded", **follows}, f"what is beside it goes on: {found}")
    expect(view["actions"]["victim"]["attempts"] == 1, "what is killed is not tried again")
    expect(view["status"] == ("failed" if was_killed else "succeeded"), f"how the run ends: {view['status']}")


def race_alone(site, seconds: float) -> dict:
    run = site.start("single-race")["id"]
    time.sleep(seconds)
    try:
        site.call("POST", f"/v1/runs/{run}/actions/victim/kill", {})
    except Exception as refused:  # The action has ended: each site has an exception of its own for it.
        expect(status_of(refused) == 409, f"an action that has ended can not be killed: {refused!r}")
    wait_for("a race to end", lambda: site.run(run)["status"] in ENDED)
    return site.run(run)


def status_of(error: Exception) -> int | None:
    return error.code if isinstance(error, urllib.error.HTTPError) else getattr(error, "status", None)


def deadline_passes(site) -> str:
    """SCENARIOS 9, the deadline: it passes in step 4 of 6."""
    log = folder_of(site, "deadline") / "log"
    lines = ["task: deadline", "timeout: 20s", "actions:"]
    for n in range(1, 7):
        command = ["sh", "-c", STEP + f"say begin; sleep {120 if n == 4 else 0.2}; say done", str(log)]
        lines.append(f"  s{n}: {{ needs: {json.dumps([f's{n - 1}'] if n > 1 else [])}, exec: {json.dumps(command)} }}")
    site.apply("\n".join(lines) + "\n")
    run = site.start("deadline")["id"]
    wait_for("step 4 to begin", lambda: said_by(log, "s4"))
    wait_for("the run to end", lambda: site.run(run)["status"] in ENDED)
    view = site.run(run)
    expect(view["status"] == "timed_out", f"the run ends timed_out: {view['status']}")
    found = [view["actions"][f"s{n}"]["status"] for n in range(1, 7)]
    # Its agent knows the deadline too: who is first decides what step 4 is called.
    stopped = found[3] in {"cancelled", "timed_out"}
    expect(stopped and found[:3] + found[4:] == ["succeeded"] * 3 + ["cancelled"] * 2, f"step 4 is stopped, what follows cancelled: {found}")
    expect(not is_alive(int(said_by(log, "s4")[-1][4])), "the program of step 4 is gone")
    expect(len(said_by(log, "s4")) == 1 and not said_by(log, "s5") + said_by(log, "s6"), "nothing starts later")
    finals = [e["type"] for e in events_of(site, run) if e["type"].removeprefix("run.") in ENDED]
    expect(finals == ["run.timed_out"], f"one final event: {finals}")
    late = seconds(view["finished_at"]) - seconds(view["deadline"])
    return f"the deadline passed in step 4 of 6: it was stopped, nothing started later, timed_out {late:.1f} s after the deadline"


def said_by(log: pathlib.Path, action: str) -> list[list[str]]:
    return [it for it in said(log, "begin") if it[1] == action]


BLACKOUT_RUNS = 1000
BLACKOUT = """
task: blackout
defaults: {{ pool: {pool} }}
actions:
  first: {{ exec: ["true"] }}
  second: {{ needs: [first], exec: ["true"] }}
"""
ACCOUNTED_WITHIN_S = 300


def blackout(site) -> str:
    """SCENARIOS 15a, with a short blackout: all compute goes at once with 1,000 runs open, and comes back."""
    pool = "blackout"
    site.apply(BLACKOUT.format(pool=pool))
    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        runs = list(clients.map(lambda n: site.start("blackout", Idempotency_Key=f"blackout-{n}")["id"], range(BLACKOUT_RUNS)))
    agent = site.agent(pool, slots=20)
    ended = lambda: BLACKOUT_RUNS - len(open_runs(site))
    wait_for("some of the work to be done", lambda: ended() >= 20)
    agent.kill()
    site.compute_off()
    agent.wait()
    time.sleep(10)
    site.compute_on()
    returned = time.monotonic()
    left = len(open_runs(site))
    agent = site.agent(pool, slots=20)
    wait_for("all runs to be accounted for", lambda: not open_runs(site), ACCOUNTED_WITHIN_S)
    took = time.monotonic() - returned
    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        faults = [fault for found in clients.map(lambda run: check_run(site, run), runs) for fault in found]
    expect(not faults, "\n".join(faults[:20]))
    agent.terminate()
    expect(agent.wait(timeout=PATIENCE_S) == 0, "the agent has nothing left to do")
    return f"{BLACKOUT_RUNS} runs, {left} of them open when all compute was off; all ended by themselves {took:.0f} s after its return"


def open_runs(site) -> list[dict]:
    """The runs of the blackout that have not ended."""
    found, cursor = [], ""
    while True:
        page = site.call("GET", f"/v1/runs?task=blackout&limit=500{cursor}")
        found += [run for run in page["runs"] if run["status"] not in ENDED]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"
