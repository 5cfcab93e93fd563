#!/usr/bin/env python3
"""A program that an action runs: it tries with the credentials of its agent what an agent may not do, and tells what came of it.

Standard input is JSON: what to try it on. Standard output is JSON: by the name of each try `done`, or the code by which AWS refused it.
"""

import json
import os
import sys

import boto3
from botocore.exceptions import ClientError


def main() -> None:
    given = json.load(sys.stdin)
    dynamodb, sqs = (boto3.client(service, region_name=os.environ["AWS_REGION"]) for service in ("dynamodb", "sqs"))
    record = {"pk": {"S": f"RUN#{given['run']}"}, "sk": {"S": "HEAD"}}
    registered = lambda pool, agent: {"pk": {"S": f"AGENTS#{pool}"}, "sk": {"S": agent}}
    at = {"TableName": given["table"]}
    tries = {
        # An agent may do these two: what is refused below is not refused because the credentials are bad.
        "read the record": lambda: dynamodb.get_item(**at, Key=record)["Item"],
        "delete from its own register": lambda: dynamodb.delete_item(**at, Key=registered(given["own_pool"], "nobody")),
        "delete the record": lambda: dynamodb.delete_item(**at, Key=record),
        "update the record": lambda: dynamodb.update_item(**at, Key=record, UpdateExpression="REMOVE b"),
        "replace the record": lambda: dynamodb.put_item(**at, Item=record | {"b": {"B": b""}}),
        "delete from the other register": lambda: dynamodb.delete_item(**at, Key=registered(given["pool"], given["agent"])),
        "report": lambda: sqs.send_message(QueueUrl=given["inbox"], MessageBody=given["report"]),
        "drain": lambda: sqs.send_message(QueueUrl=given["control"], MessageBody=given["drain"]),
    }
    json.dump({name: outcome(attempt) for name, attempt in tries.items()}, sys.stdout)


def outcome(attempt) -> str:
    try:
        attempt()
        return "done"
    except ClientError as refused:
        return refused.response["Error"]["Code"]


if __name__ == "__main__":
    main()
