//! Small task definitions as plain data. Generators draw them, and the reference model works on them.
//!
//! A sketch says everything that matters to a run's state machine and nothing else. It becomes a definition by the
//! same reader that an author's file goes through.

use serde_json::{Map, Value, json};
use windlass_domain::definition::{Definition, Trigger};
use windlass_domain::limits::MAX_HELD_BYTES;
use windlass_domain::time::Millis;

/// A task.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sketch {
    /// The actions, in the author's order; they are named `a0`, `a1` and so on.
    pub actions: Vec<ActionSketch>,
    /// How many may be queued or running at once.
    pub max_parallel: Option<u32>,
    /// How long a run may take.
    pub timeout: Option<Millis>,
    /// The run's output.
    pub output: Given,
}

/// An action.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionSketch {
    /// Positions of the actions that must be settled before.
    pub needs: Vec<usize>,
    /// The trigger of its needs.
    pub trigger: Trigger,
    /// The condition.
    pub when: When,
    /// The input of the native handler.
    pub given: Given,
    /// A failure does not fail the run.
    pub allow_failure: bool,
    /// The retry policy after a failed attempt.
    pub retry: RetrySketch,
    /// How long an attempt may take.
    pub timeout: Option<Millis>,
    /// How long an attempt may wait in its pool.
    pub queue_timeout: Option<Millis>,
}

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// None.
    #[default]
    Always,
    /// One that is true of every input that sketches are run with.
    True,
    /// One that is false of it.
    False,
    /// True if the action at that position has succeeded.
    Succeeded(usize),
    /// One whose evaluation fails.
    Broken,
    /// One whose value is a number.
    Number,
}

/// A value in the definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Given {
    /// None.
    #[default]
    Nothing,
    /// A constant.
    Constant(i64),
    /// The output of the action at that position.
    OutputOf(usize),
    /// An expression whose evaluation fails.
    Broken,
}

/// A retry policy without jitter, whose delays double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySketch {
    /// How many attempts; none: forever.
    pub attempts: Option<u32>,
    /// The first delay.
    pub delay: Millis,
    /// The longest delay.
    pub max_delay: Millis,
    /// No attempt later than this after the first one.
    pub max_age: Option<Millis>,
}

/// The kind of error that no sketched policy retries; each names the pattern `auth.*`.
pub const NEVER_RETRIED: &str = "auth.password";
/// A kind of error that is retried.
pub const RETRIED: &str = "network.reset";

impl Default for ActionSketch {
    fn default() -> Self {
        Self {
            needs: Vec::new(),
            trigger: Trigger::AllSucceeded,
            when: When::Always,
            given: Given::Nothing,
            allow_failure: false,
            retry: RetrySketch::once(),
            timeout: None,
            queue_timeout: None,
        }
    }
}

impl RetrySketch {
    /// One attempt.
    pub const fn once() -> Self {
        Self::limited(1)
    }

    /// That many attempts, a second apart at first and a minute at last.
    pub const fn limited(attempts: u32) -> Self {
        Self { attempts: Some(attempts), delay: Millis::from_secs(1), max_delay: Millis::from_secs(60), max_age: None }
    }

    fn source(&self) -> Value {
        let attempts = self.attempts.map_or_else(|| json!("forever"), |most| json!(most));
        let mut source = json!({
            "attempts": attempts,
            "delay": self.delay.to_string(),
            "factor": 2,
            "max_delay": self.max_delay.to_string(),
            "jitter": "none",
            "never": ["auth.*"],
        });
        if let Some(age) = self.max_age {
            source["max_age"] = age.to_string().into();
        }
        source
    }
}

/// The name of the action at a position.
pub fn name_of(position: usize) -> String {
    format!("a{position}")
}

/// The input of every run of a sketch.
pub fn input() -> Value {
    json!({ "yes": true, "no": false, "word": "windlass" })
}

/// The output of that number: a short one, or one that stands apart from its record.
pub fn output(number: u32) -> Value {
    if number % 3 == 1 { format!("{}{number}", "long".repeat(MAX_HELD_BYTES / 4)).into() } else { number.into() }
}

impl Sketch {
    /// A task of these actions without limits.
    pub fn of(actions: Vec<ActionSketch>) -> Self {
        Self { actions, ..Self::default() }
    }

    /// The definition as an author would write it.
    pub fn source(&self) -> Value {
        let mut actions = Map::new();
        for (at, action) in self.actions.iter().enumerate() {
            actions.insert(name_of(at), action.source());
        }
        let mut source = json!({ "task": "sketch", "actions": actions });
        if let Some(most) = self.max_parallel {
            source["max_parallel"] = most.into();
        }
        if let Some(timeout) = self.timeout {
            source["timeout"] = timeout.to_string().into();
        }
        if let Some(output) = self.output.source() {
            source["output"] = output;
        }
        source
    }

    /// The definition, read.
    ///
    /// # Panics
    /// If the sketch is not a valid definition: a fault of the code that drew it.
    pub fn definition(&self) -> Definition {
        let source = self.source();
        match Definition::from_source(&source) {
            Ok(definition) => definition,
            Err(faults) => panic!("a sketch is not valid: {faults}\n{source:#}"),
        }
    }
}

impl ActionSketch {
    /// An action that needs the actions at those positions.
    pub fn needing(needs: impl Into<Vec<usize>>) -> Self {
        Self { needs: needs.into(), ..Self::default() }
    }

    fn source(&self) -> Value {
        let mut native = json!({ "handler": "test" });
        if let Some(given) = self.given.source() {
            native["input"] = given;
        }
        let mut source = json!({ "native": native, "retry": self.retry.source() });
        if !self.needs.is_empty() {
            source["needs"] = self.needs.iter().map(|need| name_of(*need)).collect();
            source["trigger"] = json!(self.trigger);
        }
        if let Some(when) = self.when.source() {
            source["when"] = when.into();
        }
        if self.allow_failure {
            source["allow_failure"] = true.into();
        }
        for (key, span) in [("timeout", self.timeout), ("queue_timeout", self.queue_timeout)] {
            if let Some(span) = span {
                source[key] = span.to_string().into();
            }
        }
        source
    }
}

impl When {
    fn source(self) -> Option<String> {
        Some(match self {
            Self::Always => return None,
            Self::True => "input.yes".into(),
            Self::False => "input.no".into(),
            Self::Succeeded(position) => format!("actions.{}.status == 'succeeded'", name_of(position)),
            Self::Broken => "input.word.missing == 1".into(),
            Self::Number => "size(input.word)".into(),
        })
    }
}

impl Given {
    fn source(self) -> Option<Value> {
        Some(match self {
            Self::Nothing => return None,
            Self::Constant(number) => number.into(),
            Self::OutputOf(position) => format!("${{{{ actions.{}.output }}}}", name_of(position)).into(),
            Self::Broken => "${{ input.word.missing }}".into(),
        })
    }
}
