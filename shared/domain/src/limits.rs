//! Every limit, with its unit in its name. A limit that is met is a typed error at the place that met it.

/// How long a message stays hidden without being extended, unless its agent's settings say otherwise, in milliseconds.
pub const VISIBILITY_MS: u64 = 30_000;
/// How far the clocks of two processes may differ, wherever one decides by the other's times.
pub const CLOCKS_DIFFER_MS: u64 = 10_000;

/// Characters of a task's, an action's, a pool's or an agent's name.
pub const MAX_NAME_BYTES: usize = 64;
/// Bytes of a definition as it is sent or read from a file.
pub const MAX_DEFINITION_BYTES: usize = 4 * 1024 * 1024;
/// Actions of one task.
pub const MAX_ACTIONS: usize = 10_000;
/// Entries of one action's `needs`.
pub const MAX_NEEDS: usize = 10_000;
/// Labels of one task.
pub const MAX_LABELS: usize = 32;
/// Characters of a label's key or value.
pub const MAX_LABEL_BYTES: usize = 256;
/// Keys and values of a definition, those of its aliases apart. Each takes some 100 bytes of memory while it is read.
pub const MAX_DEFINITION_VALUES: usize = 600_000;
/// Nested sequences and mappings in a definition.
pub const MAX_DEFINITION_DEPTH: usize = 64;
/// Nodes that the aliases of one definition may stand for, all together.
pub const MAX_ALIASED_NODES: usize = 100_000;
/// Faults of one definition that the reader reports; it only counts the others.
pub const MAX_FAULTS: usize = 1000;
/// Schemas in the schema of a task's input, with every reference put in its place.
pub const MAX_INPUT_SCHEMA_NODES: usize = 10_000;
/// Characters of one expression.
pub const MAX_EXPRESSION_BYTES: usize = 4096;
/// Nested brackets in one expression.
pub const MAX_EXPRESSION_DEPTH: usize = 32;
/// Operators that stand above one another in one expression, as `a.b.c.d` or `a + b + c` do.
pub const MAX_EXPRESSION_CHAIN: usize = 48;
/// Comprehensions (`map`, `filter`, `all`, `exists`) inside one another in one expression.
pub const MAX_COMPREHENSION_DEPTH: usize = 4;
/// Values that the expressions in one place visit or make, all together: a `when`, what one action is given, a run's output.
/// A text counts one more for each 16 bytes, and 8 values that are only copied count as one. Some 150 ms.
pub const MAX_EXPRESSION_WORK: u64 = 512 * 1024;
/// Values that all expressions of one step of a run visit or make, counted so. Some 600 ms.
pub const MAX_STEP_WORK: u64 = 4 * MAX_EXPRESSION_WORK;
/// Bytes of a run's input, as JSON.
pub const MAX_INPUT_BYTES: usize = 128 * 1024;
/// Bytes of a value, as JSON, up to which it stands in its record: of a longer one the record holds a reference
/// ([`crate::content`]). On `DynamoDB` each commit writes a value in the record again, at $0.625 per million kilobytes. A
/// payload in S3 costs $5 per million puts and $0.40 per million reads. With about ten commits, and values that pack to
/// half, both cost the same at 1 to 2 KiB.
pub const MAX_HELD_BYTES: usize = 1024;
/// Bytes of values that stand apart and that the expressions of one step of a run read. One more action still fits.
pub const MAX_STEP_READ_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of one action's output, as JSON. An SQS message holds 1 MiB; the report around it needs some of that.
pub const MAX_OUTPUT_BYTES: usize = 128 * 1024;
/// Arrays and objects inside one another, in an input or an output.
pub const MAX_VALUE_DEPTH: usize = 48;
/// Bytes of one attempt's work, as JSON.
pub const MAX_WORK_BYTES: usize = 256 * 1024;
/// Bytes of one message: SQS's limit since August 2025 is 1 MiB.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// Bytes of a failure's message, the tail of the program's output included.
pub const MAX_ERROR_MESSAGE_BYTES: usize = 8 * 1024;
/// Characters of an error's kind, such as `auth.password`.
pub const MAX_ERROR_KIND_BYTES: usize = 128;
/// Bytes of a progress report's message.
pub const MAX_PROGRESS_MESSAGE_BYTES: usize = 1024;
/// Bytes of an attempt's checkpoint as JSON: the state that it saves for the attempt after it.
pub const MAX_CHECKPOINT_BYTES: usize = 8 * 1024;
/// Characters of a client's idempotency key.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 256;
/// Attempts that a retry policy may name; beyond it, say `forever`.
pub const MAX_ATTEMPTS: u32 = 1000;
/// The longest span that a definition may name: 366 days, in milliseconds.
pub const MAX_SPAN_MS: u64 = 366 * 86_400_000;
/// Nominal times that wait for their turn under `overlap: queue`.
pub const MAX_QUEUED_DUE: usize = 100;
/// Nominal times that are looked at together: missed ones, or those that are shown.
pub const MAX_CATCH_UP_DUE: usize = 1000;
/// Nominal times of a task that are fired together. A task that catches up on more lets others in between.
pub const MAX_FIRED_TOGETHER: usize = 10;
/// Messages of one send, receive, extend or delete (SQS's limit).
pub const MAX_BATCH: usize = 10;
/// Entries of one page of a list.
pub const MAX_LISTED: usize = 1000;
/// Actions of a run that an answer shows with it; a larger run's come in pages.
pub const MAX_SHOWN_ACTIONS: usize = 1000;
/// Bytes of JSON of the outputs, and of the errors and progress, that an answer shows with a run; and of a page of actions
/// or events. AWS Lambda hands over 6 MB, in which the answer's text stands escaped.
pub const MAX_SHOWN_BYTES: u64 = 1024 * 1024;
/// Claims of one message.
pub const MAX_CLAIMS: usize = 64;
/// The longest delay of a message (SQS's limit): 15 minutes, in milliseconds.
pub const MAX_DELAY_MS: u64 = 15 * 60_000;
/// If an attempt waited in its pool for longer than this, its agent asks the record before it begins, in milliseconds.
pub const CHECK_AFTER_MS: u64 = 2_000;
/// By then the agent has reported an attempt that it began by a fresh message, in milliseconds after it was queued. The
/// agent begins within [`CHECK_AFTER_MS`] and reports after a second and a half; the report may take as long again. A
/// message that replaces a lost first message comes no sooner.
pub const TOLD_WITHIN_MS: u64 = CHECK_AFTER_MS + 3_000;
/// An agent claims an attempt whose `queue_timeout` is shorter than this, in milliseconds, so that the record decides
/// whether the wait ended first. It may begin any other attempt unasked for [`CHECK_AFTER_MS`] after it was sent, and
/// longer if its clock is behind ([`CLOCKS_DIFFER_MS`]).
pub const CLAIM_BELOW_MS: u64 = CHECK_AFTER_MS + CLOCKS_DIFFER_MS + 3_000;
/// How long a cancelled run waits until an agent answers its queued actions, in milliseconds. It is far above
/// [`CHECK_AFTER_MS`], so an agent that receives an attempt later claims it, and the process manager refuses the claim.
pub const CANCEL_GRACE_MS: u64 = 30_000;
/// How long a cancelled run waits for a running action. Its agent has lost its lease by then and stopped itself.
pub const CANCEL_FORCE_MS: u64 = 120_000;
/// How long a leased attempt is its agent's after each renewal, in milliseconds. The agent renews after a third of
/// that, so a run with such an attempt is quiet for long enough to be swept.
pub const LEASE_MS: u64 = 600_000;
/// An attempt that runs for longer than this without a lease has no owner: 13 hours, in milliseconds. SQS hides a
/// message for 12 hours at most (Amazon SQS Developer Guide, "Visibility timeout"). The agent that receives it then has
/// an hour to claim it.
pub const UNLEASED_MS: u64 = 13 * 3_600_000;
/// How long after an action's own timeout its agent may still report it, in milliseconds.
pub const TIMEOUT_MARGIN_MS: u64 = 60_000;
/// The sweeper resends a queued action that no agent reported for this long, in milliseconds; an agent must claim it.
pub const REISSUE_QUEUED_AFTER_MS: u64 = 10 * 60_000;
/// How long a run is kept after its end, unless its definition or its host says otherwise: 90 days, in milliseconds.
pub const KEEP_MS: u64 = 90 * 86_400_000;
/// The message of a due time comes again within this time, in milliseconds: [`MAX_DELIVERIES`] take some seven hours. It
/// must find the run of the due time, or it starts another.
pub const DUE_COMES_AGAIN_WITHIN_MS: u64 = 8 * 3_600_000;
/// A due time that had its turn and has no run is started for so long: SQS keeps a message for 14 days. The run of a
/// newest turn is kept for longer.
pub const LOST_TURN_WITHIN_MS: u64 = 14 * 24 * 3_600_000;
/// A sweep whose process manager died comes again within this time.
pub const SWEPT_AGAIN_WITHIN_MS: u64 = 5 * 60_000;
/// The sweeper begins a run that was recorded so long ago and has not begun, in milliseconds.
pub const START_AGAIN_AFTER_MS: u64 = 2 * 60_000;
/// Actions in one page of a run's record.
pub const ACTIONS_PER_PAGE: usize = 64;
/// An action that costs so many agents in a row is given up as poison.
pub const MAX_LOSSES: usize = 5;
/// An agent begins an action that cost so many agents beside fewer others.
pub const SUSPECT_LOSSES: usize = 2;
/// Deliveries of a message before its reader gives it up. They come at up to five minutes apart, so a host may be out
/// of reach for about seven hours.
pub const MAX_DELIVERIES: u32 = 100;
/// Deliveries of an input whose handling fails for a reason that does not pass by itself.
pub const MAX_FAILED_DELIVERIES: u32 = 10;
/// The shortest span between two due times: a second, in milliseconds. EventBridge Scheduler's own is a minute.
pub const MIN_EVERY_MS: u64 = 1000;
/// Nominal times that a task remembers as passed over, so that a repeated message changes nothing.
pub const MAX_PASSED_OVER_KEPT: usize = 32;
/// A due time may be fired so late and still be on time, even without a catch-up window: 10 seconds, in milliseconds.
pub const DUE_GRACE_MS: u64 = 10_000;
/// Bytes of the reason that a caller gives for a cancellation.
pub const MAX_REASON_BYTES: usize = 1024;
