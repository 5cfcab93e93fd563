//! The engine's ports on AWS: saga records and tasks in one `DynamoDB` table, queues in SQS, events on an `EventBridge`
//! bus, due times in `EventBridge` Scheduler, large payloads in S3.
