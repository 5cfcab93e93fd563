//! Cron rules: ranges and names, and the message for a field that is not well formed.

use windlass_domain::definition::{CatchUp, Overlap, Schedule, ScheduleRule};
use windlass_domain::schedule::{CronField, ScheduleError, check};
use windlass_domain::time::Timestamp;

/// A Friday.
const FROM: &str = "2026-11-20T12:00:00Z";

fn refused(rule: &str) -> (CronField, String) {
    match check(&ScheduleRule::Cron(rule.to_owned()), "UTC") {
        Err(ScheduleError::Field { field, cause, .. }) => (field, cause),
        other => panic!("{rule}: {other:?}"),
    }
}

/// The next days on which the rule is due at noon.
fn days(weekdays: &str) -> Vec<String> {
    let rule = ScheduleRule::Cron(format!("0 12 * * {weekdays}"));
    let schedule =
        Schedule { rule, timezone: "UTC".to_owned(), overlap: Overlap::default(), catch_up: CatchUp::default() };
    let due = schedule.upcoming(Timestamp::parse_rfc3339(FROM).unwrap(), 3);
    due.iter().map(|at| at.to_jiff().strftime("%a %d").to_string()).collect()
}

#[test]
fn weekdays_have_names_and_numbers() {
    for workdays in ["MON-FRI", "1-5", "mon-5"] {
        assert_eq!(days(workdays), ["Mon 23", "Tue 24", "Wed 25"], "{workdays}");
    }
    for weekend in ["SAT-SUN", "6-7", "SAT,SUN", "0,6", "SUN,6"] {
        assert_eq!(days(weekend), ["Sat 21", "Sun 22", "Sat 28"], "{weekend}");
    }
    assert_eq!(days("SUN-MON"), ["Sun 22", "Mon 23", "Sun 29"]);
    assert_eq!(days("THU-THU"), ["Thu 26", "Thu 03", "Thu 10"]);
    assert_eq!(days("FRI"), ["Fri 27", "Fri 04", "Fri 11"]);
    assert_eq!(days("FRIL"), ["Fri 27", "Fri 25", "Fri 29"]);
    assert_eq!(days("SUN#1"), ["Sun 06", "Sun 03", "Sun 07"]);
}

/// The message names the part that is wrong, and describes the form that the author chose.
#[test]
fn fault_of_cron_field_names_its_reason() {
    let of_weekday = |what: &str| format!("`{what}` is not a number from 0 to 7 (0 and 7 are Sunday) or SUN to SAT");
    for (field, wrong) in [("L", "L"), ("XL", "X"), ("MON-FRIL", "FRIL"), ("MON,FRIL", "FRIL"), ("8", "8")] {
        assert_eq!(refused(&format!("0 0 * * {field}")), (CronField::DayOfWeek, of_weekday(wrong)));
    }
    let of_day = |what: &str| format!("`{what}` is not a number from 1 to 31");
    for (field, wrong) in [("W", ""), ("0W", "0"), ("1-15W", "15W"), ("0", "0"), ("32", "32")] {
        assert_eq!(refused(&format!("0 0 {field} * *")), (CronField::DayOfMonth, of_day(wrong)));
    }
    let backwards = "the range `5-4` runs backwards: write it as two, with a comma".to_owned();
    assert_eq!(refused("5-4 * * * *"), (CronField::Minute, backwards));
    assert_eq!(check(&ScheduleRule::Cron("5-5 4-4 * * *".to_owned()), "UTC"), Ok(()));
}
