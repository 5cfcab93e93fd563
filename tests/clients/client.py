"""Starts a run, waits for its end and reads its actions, by the client that openapi-python-client has made."""

import json
import os
import time

from windlass_client import AuthenticatedClient
from windlass_client.api.default import get_run, get_task, start_run
from windlass_client.models import Problem, RunStatus, StartRunStartBody

OPEN = {RunStatus.SUBMITTED, RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.CANCELLING}

client = AuthenticatedClient(base_url=os.environ["WINDLASS_URL"], token=os.environ["WINDLASS_TOKEN"])
run = start_run.sync("greet", client=client, body=StartRunStartBody(input_={"name": "Ada"}))
while run.status in OPEN:
    time.sleep(0.05)
    run = get_run.sync(run.id, client=client)
actions = [
    [name, action.status.value, action.output] for name, action in run.actions.additional_properties.items()
]
unknown = get_task.sync("none", client=client)
assert isinstance(unknown, Problem), unknown
print(json.dumps({"status": run.status.value, "actions": actions, "refused": unknown.code}))
