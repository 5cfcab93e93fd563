"""Brings the stack up. Run again on one that runs, it deploys what has changed since."""

import contextlib
import fcntl
import os
import signal
import sys
import time

from . import access, agents, binaries, down, emulation, identities, logs, settings
from .deployment import Deployer
from .processes import Processes, reap


def main(arguments: list[str]) -> int:
    forget_profile()
    try:
        chosen = settings.for_up(arguments)
        return run(chosen)
    except settings.Refused as refused:
        print(f"localstack/up: {refused}", file=sys.stderr)
        return 1


def forget_profile() -> None:
    """The stack has credentials of its own. A profile is for AWS itself, and one that is not there stops every client."""
    if profile := os.environ.pop("AWS_PROFILE", None):
        say(f"the profile `{profile}` of AWS_PROFILE is for AWS itself and is not used here")
        print("unset AWS_PROFILE", flush=True)


def run(chosen: settings.Settings) -> int:
    processes = Processes(chosen.state / "run")
    began = time.monotonic()
    chosen.logs.mkdir(parents=True, exist_ok=True)
    chosen.state.chmod(0o700)
    with alone(chosen):
        ours = bring_up(chosen, processes)
    say(f"ready after {time.monotonic() - began:.0f} s; logs are in {chosen.logs}")
    if chosen.detach:
        say(f"end it with: localstack/down --state {chosen.state}")
        return 0
    return stay(chosen, processes, ours)


@contextlib.contextmanager
def alone(chosen: settings.Settings):
    """One `up` at a time works on a state folder."""
    with open(chosen.state / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise settings.Refused(f"another `up` works on {chosen.state}; name another folder: --state") from error
        yield


def bring_up(chosen: settings.Settings, processes: Processes) -> bool:
    programs = binaries.provide(chosen)
    ours = emulation.ensure(chosen, processes)
    say(f"emulator at {chosen.endpoint}" + ("" if ours else ", which ran already and will be left running"))
    began = time.monotonic()
    deployer = Deployer(chosen)
    deployment = deployer.deploy(programs)
    say(f"infra/template.yaml deployed as `{chosen.name}` in {time.monotonic() - began:.1f} s")
    crew = agents.Crew(chosen, deployment, programs, identities.ensure(chosen, deployer, deployment))
    variables = access.variables(chosen, deployment)
    access.write(chosen, variables, deployment, {pool.name: crew.environment(pool) for pool in chosen.pools}, ours)
    started = agents.ensure(crew, processes)
    access.wait_for_api(variables)
    say(f"API at {variables['WINDLASS_URL']}; agents: {', '.join(started) or 'none'}")
    print("\n".join(access.export_lines(variables)), flush=True)
    return ours


def stay(chosen: settings.Settings, processes: Processes, ours: bool) -> int:
    """Shows the logs until Ctrl-C, or until the emulator is gone."""
    stopping = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.append(True))
    missed: set[str] = set()

    def is_over() -> bool:
        reap()
        for process in processes.all():
            if not process.is_alive() and process.name not in missed:
                missed.add(process.name)
                say(f"{process.name} (process {process.pid}) has ended")
        return bool(stopping) or (ours and emulation.EMULATOR in missed)

    logs.show(logs.Followed(chosen.logs, f"{chosen.name}-"), is_over)
    say("stopping")
    down.stop(chosen.state)
    return 0 if stopping else 1


def say(text: str) -> None:
    """To the people; standard output has the lines for the shell."""
    print(f"# {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main(sys.argv[1:]))
