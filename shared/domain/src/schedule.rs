//! The due times of a schedule: cron and rate, in a time zone, by EventBridge Scheduler's rules.
