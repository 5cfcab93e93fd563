use proptest::prelude::*;

use super::*;
use crate::definition::{CatchUp, Overlap};

fn refused(cron: &str, message: &str) {
    let error = check(&ScheduleRule::Cron(cron.to_owned()), "UTC").expect_err(cron);
    assert!(error.to_string().contains(message), "{cron}: {error}");
}

fn accepted(cron: &str) {
    assert_eq!(check(&ScheduleRule::Cron(cron.to_owned()), "UTC"), Ok(()), "{cron}");
}

#[test]
fn rules_are_accepted() {
    for cron in ["30 2 * * *", "*/30 * * * *", "0 9-17/2 * * MON-FRI", "0 0 L * *", "0 0 15W * ?", "0 0 ? * mon#2"] {
        accepted(cron);
    }
    for cron in ["0 0 * * FRIL", "0 0 * * 5L", "5,10 0 1,15 jan,7 *", "0 0 29 2 *", "0 0 * 2 MON#5", "0 0 * * FRI-SUN"]
    {
        accepted(cron);
    }
    for cron in ["@hourly", "@daily", "@Weekly", "@monthly", "@yearly", "@annually", "  0 0 * * 7 "] {
        accepted(cron);
    }
}

#[test]
fn a_bad_field_is_named_with_its_cause() {
    refused("60 * * * *", "the minute field `60` is not valid: `60` is not a number from 0 to 59");
    refused("0 24 * * *", "the hour field `24`");
    refused("0 0 0 * *", "the day of month field `0`");
    refused("0 0 * 13 *", "from 1 to 12 or JAN to DEC");
    refused("0 0 * * 8", "(0 and 7 are Sunday)");
    refused("0 0 * * MONTUE", "`MONTUE` is not a number");
    refused("0 22-2 * * *", "the range `22-2` runs backwards");
    refused("5/10 * * * *", "write `5-59/10`");
    refused("*/0 * * * *", "the step `0` is not a number from 1 to 59");
    refused("*/60 * * * *", "the step `60`");
    refused("*,5 * * * *", "`*` stands alone");
    refused("1,,2 * * * *", "`` is not a number");
    refused("+5 * * * *", "`+5` is not a number");
    refused("0 0 LW * *", "`L` is not a number");
    refused("0 0 * * MON#6", "`6` is not a week");
    refused("0 0 * * MON#1,FRI#2", "stands alone");
    refused("0 0 L-3 * *", "`L` is not a number");
    refused("0 L * * *", "`L` is not a number from 0 to 23");
    refused("? * * * *", "`?` is not a number");
    refused("0 0 13 * FRI", "can not both be given");
    refused("0 0 13 * +FRI", "can not both be given");
}

#[test]
fn a_rule_has_five_fields() {
    refused("", "this one has 0");
    refused("0 0 * *", "this one has 4");
    refused("0 0 0 * * *", "this one has 6");
    refused("@reboot", "`@reboot` is not known");
    refused("\u{130}0 0 * * *", "is not a number");
}

#[test]
fn a_rule_that_is_never_due_is_refused() {
    refused("0 0 30 2 *", "never due");
    refused("0 0 31 4,6,9,11 *", "never due");
    refused("0 0 31 FEB *", "never due");
    let always_in_the_gap = ScheduleRule::Cron("30 2 * MAR SUN#2".to_owned());
    assert_eq!(check(&always_in_the_gap, "America/New_York"), Err(ScheduleError::NeverDue));
    assert_eq!(check(&always_in_the_gap, "Europe/Berlin"), Ok(()));
}

#[test]
fn a_zone_must_exist() {
    let rule = ScheduleRule::Cron("0 0 * * *".to_owned());
    let message = |zone: &str| check(&rule, zone).expect_err(zone).to_string();
    assert_eq!(
        message("Europe/Berlim"),
        "`Europe/Berlim` is not a time zone of the IANA database; did you mean `Europe/Berlin`?"
    );
    assert!(message("europe/berlin").contains("did you mean `Europe/Berlin`?"));
    assert!(message("New York").contains("did you mean `America/New_York`?"));
    assert_eq!(message("qqq"), "`qqq` is not a time zone of the IANA database");
    assert!(message("").contains("not a time zone"));
    assert_eq!(check(&rule, "UTC"), Ok(()));
    assert_eq!(check(&rule, "Asia/Kathmandu"), Ok(()));
}

#[test]
fn a_span_is_bounded() {
    let every = |span| check(&ScheduleRule::Every(Millis(span)), "UTC");
    assert_eq!(every(1000), Ok(()));
    assert_eq!(every(999), Err(ScheduleError::Every(Millis(999))));
    assert_eq!(every(MAX_SPAN_MS), Ok(()));
    assert_eq!(every(MAX_SPAN_MS + 1), Err(ScheduleError::Every(Millis(MAX_SPAN_MS + 1))));
}

fn schedule(rule: ScheduleRule, timezone: &str) -> Schedule {
    Schedule { rule, timezone: timezone.to_owned(), overlap: Overlap::default(), catch_up: CatchUp::default() }
}

/// One case of the table that every host's scheduler is tested against.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    cron: Option<String>,
    every: Option<String>,
    timezone: String,
    after: String,
    due: Vec<String>,
}

fn instant(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("an instant in RFC 3339")
}

fn check_case(case: &Case) {
    let every = || Millis::parse(case.every.as_deref().expect("`cron` or `every`")).expect("a span");
    let rule = case.cron.clone().map_or_else(|| ScheduleRule::Every(every()), ScheduleRule::Cron);
    assert_eq!(check(&rule, &case.timezone), Ok(()), "{}", case.name);
    let schedule = schedule(rule, &case.timezone);
    let after = instant(&case.after);
    let expected: Vec<_> = case.due.iter().map(|due| instant(due)).collect();
    let texts = |times: &[Timestamp]| times.iter().map(ToString::to_string).collect::<Vec<_>>();

    let upcoming = schedule.upcoming(after, expected.len());
    assert_eq!(texts(&upcoming), texts(&expected), "{}", case.name);
    assert_eq!(schedule.next_after(after), expected.first().copied(), "{}", case.name);
    let last = *expected.last().expect("a due time");
    assert_eq!(schedule.due_between(after, last, usize::MAX), expected, "{}", case.name);
    let before_last = Timestamp::from_millis(last.as_millis() - 1);
    assert_eq!(schedule.due_between(after, before_last, usize::MAX), expected[..expected.len() - 1], "{}", case.name);
}

#[test]
fn the_table_holds() {
    let table = include_str!("../../../testkit/cases/schedule.json");
    let cases: Vec<Case> = serde_json::from_str(table).expect("the table is JSON");
    cases.iter().for_each(check_case);
}

#[test]
fn lists_are_bounded_and_time_ends() {
    let every_second = schedule(ScheduleRule::Every(Millis(1000)), "UTC");
    let epoch = Timestamp::from_millis(0);
    assert_eq!(every_second.due_between(epoch, instant("2026-01-01T00:00:00Z"), 7).len(), 7);
    assert_eq!(every_second.upcoming(epoch, usize::MAX).len(), MAX_CATCH_UP_DUE);
    assert!(every_second.due_between(epoch, epoch, 7).is_empty());
    let end = Timestamp::from_millis(i64::MAX);
    assert_eq!(every_second.next_after(end), None);
    assert_eq!(schedule(ScheduleRule::Cron("* * * * *".into()), "Europe/Berlin").next_after(end), None);
    assert_eq!(schedule(ScheduleRule::Cron("0 0 30 2 *".into()), "UTC").next_after(epoch), None);
}

/// The fields of a rule as plain sets, to be compared with the clock of the zone.
#[derive(Debug, Clone)]
struct Fields {
    minutes: Vec<i8>,
    hours: Vec<i8>,
    /// Days of the month, or weekdays from Sunday, 0.
    days: Option<(bool, Vec<i8>)>,
    months: Option<Vec<i8>>,
}

impl Fields {
    fn cron(&self) -> String {
        let list = |values: &[i8]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let (minutes, hours) = (list(&self.minutes), list(&self.hours));
        let months = self.months.as_ref().map_or("*".to_owned(), |months| list(months));
        match &self.days {
            None => format!("{minutes} {hours} * {months} *"),
            Some((false, days)) => format!("{minutes} {hours} {} {months} *", list(days)),
            Some((true, weekdays)) => format!("{minutes} {hours} * {months} {}", list(weekdays)),
        }
    }

    fn fit(&self, wall: civil::DateTime) -> bool {
        let day = match &self.days {
            None => true,
            Some((false, days)) => days.contains(&wall.day()),
            Some((true, weekdays)) => weekdays.contains(&wall.weekday().to_sunday_zero_offset()),
        };
        let month = self.months.as_ref().is_none_or(|months| months.contains(&wall.month()));
        let whole = wall.second() == 0 && wall.subsec_nanosecond() == 0;
        whole && day && month && self.minutes.contains(&wall.minute()) && self.hours.contains(&wall.hour())
    }
}

fn numbers(range: std::ops::RangeInclusive<i8>) -> impl Strategy<Value = Vec<i8>> {
    proptest::collection::btree_set(range, 1..8).prop_map(|set| set.into_iter().collect())
}

fn fields() -> impl Strategy<Value = Fields> {
    let days = prop_oneof![
        Just(None),
        numbers(1..=28).prop_map(|days| Some((false, days))),
        numbers(0..=6).prop_map(|days| Some((true, days))),
    ];
    let months = proptest::option::of(numbers(1..=12));
    let parts = (numbers(0..=59), numbers(0..=23), days, months);
    parts.prop_map(|(minutes, hours, days, months)| Fields { minutes, hours, days, months })
}

fn zones() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Santiago",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Africa/Casablanca",
        "Antarctica/Troll",
    ])
}

/// Instants of 1990 to 2040, half of them near a change of a clock in Berlin.
fn instants() -> impl Strategy<Value = Timestamp> {
    let change = prop_oneof![Just(1_774_746_000_000i64), Just(1_792_890_000_000)];
    let near = (change, -8_000_000i64..8_000_000).prop_map(|(change, by)| change + by);
    prop_oneof![631_152_000_000i64..2_208_988_800_000, near].prop_map(Timestamp::from_millis)
}

/// Whether the clock of the zone has not shown that time before, in the two days before the instant.
fn is_first_showing(zone: &TimeZone, instant: Timestamp) -> bool {
    let wall = zone.to_datetime(instant.to_jiff());
    let earlier = (1..=2 * 24 * 12).map(|back| Timestamp::from_millis(instant.as_millis() - back * 300_000));
    earlier.into_iter().all(|earlier| zone.to_datetime(earlier.to_jiff()) != wall)
}

proptest! {
    #[test]
    fn due_times_grow_and_fit_the_fields(fields in fields(), timezone in zones(), after in instants()) {
        let schedule = schedule(ScheduleRule::Cron(fields.cron()), timezone);
        let zone = zone(timezone).expect("a zone");
        let mut last = after;
        for due in schedule.upcoming(after, 10) {
            prop_assert!(due > last);
            prop_assert_eq!(schedule.next_after(Timestamp::from_millis(due.as_millis() - 1)), Some(due));
            prop_assert!(fields.fit(zone.to_datetime(due.to_jiff())), "{} {}", fields.cron(), due);
            prop_assert!(is_first_showing(&zone, due), "{} {}", fields.cron(), due);
            last = due;
        }
    }

    #[test]
    fn nothing_that_fits_is_left_out(fields in fields(), timezone in zones(), after in instants()) {
        let schedule = schedule(ScheduleRule::Cron(fields.cron()), timezone);
        let zone = zone(timezone).expect("a zone");
        let next = schedule.next_after(after).expect("a due time").as_millis();
        let minutes = (after.as_millis().div_euclid(60_000) + 1..).map(|minute| minute * 60_000);
        for minute in minutes.take_while(|minute| *minute < next).take(3 * 24 * 60) {
            let minute = Timestamp::from_millis(minute);
            let fits = fields.fit(zone.to_datetime(minute.to_jiff()));
            prop_assert!(!fits || !is_first_showing(&zone, minute), "{} left out {}", fields.cron(), minute);
        }
    }

    #[test]
    fn every_is_a_multiple_and_the_nearest_one(span in MIN_EVERY_MS..=MAX_SPAN_MS, after in -4_000_000_000_000i64..4_000_000_000_000) {
        let after = Timestamp::from_millis(after);
        let next = schedule(ScheduleRule::Every(Millis(span)), "UTC").next_after(after).expect("a due time");
        prop_assert!(next > after && next.since(after).0 <= span);
        prop_assert_eq!(next.as_millis().rem_euclid(i64::try_from(span).expect("bounded")), 0);
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,24}", fields in "[0-9*/,LW#?A-Z @-]{0,24}", timezone in "\\PC{0,12}") {
        let _ = check(&ScheduleRule::Cron(text), "UTC");
        let _ = check(&ScheduleRule::Cron(fields), &timezone);
    }
}
