//! Why a schedule is refused.

use super::fields::CronField;
use crate::limits::{MAX_SPAN_MS, MIN_EVERY_MS};
use crate::time::Millis;

/// Why a schedule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The rule does not have five fields.
    #[error("a cron rule has five fields (minute, hour, day of month, month, day of week); this one has {0}")]
    FieldCount(usize),
    /// The rule is a word that is not known.
    #[error("`{0}` is not known; known are @hourly, @daily, @weekly, @monthly, @yearly and @annually")]
    UnknownWord(String),
    /// A field cannot be read.
    #[error("the {field} field `{value}` is not valid: {cause}")]
    Field {
        /// Which.
        field: CronField,
        /// The text of the field, in capitals.
        value: String,
        /// Why not.
        cause: String,
    },
    /// Both day fields are restricted, which cron programs read as "or" and `EventBridge` Scheduler cannot express.
    #[error(
        "the day of month `{day}` and the day of week `{weekday}` can not both be given: one of them must be `*`; \
         write two tasks if either day is meant"
    )]
    BothDays {
        /// The day of month.
        day: String,
        /// The day of week.
        weekday: String,
    },
    /// There is no such time zone.
    #[error("`{name}` is not a time zone of the IANA database{}", did_you_mean(.suggestion.as_deref()))]
    UnknownTimezone {
        /// The name that the author wrote.
        name: String,
        /// The nearest name there is.
        suggestion: Option<String>,
    },
    /// No date fits, as with 30 February, or the only times that fit are ones the clock always jumps over.
    #[error("this rule is never due: no date has such a day, or the clock always jumps over that time")]
    NeverDue,
    /// The span is too short or too long.
    #[error("`every: {0}` is not between {min} and {max}", min = Millis(MIN_EVERY_MS), max = Millis(MAX_SPAN_MS))]
    Every(Millis),
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}
