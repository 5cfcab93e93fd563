use std::collections::BTreeSet;

use jiff::civil;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use proptest::prelude::*;
use serde::Deserialize;
use windlass_domain::definition::{CatchUp, Overlap};

use super::*;

fn schedule(rule: ScheduleRule, timezone: &str) -> Schedule {
    Schedule { rule, timezone: timezone.to_owned(), overlap: Overlap::default(), catch_up: CatchUp::default() }
}

fn of_cron(cron: &str) -> String {
    Expression::of(&schedule(ScheduleRule::Cron(cron.to_owned()), "UTC")).expect(cron).text
}

#[test]
fn cron_rules_are_rewritten() {
    let table = [
        ("* * * * *", "cron(* * * * ? *)"),
        ("30 2 * * *", "cron(30 2 * * ? *)"),
        ("@hourly", "cron(0 * * * ? *)"),
        ("@daily", "cron(0 0 * * ? *)"),
        ("@weekly", "cron(0 0 ? * SUN *)"),
        ("@monthly", "cron(0 0 1 * ? *)"),
        ("@yearly", "cron(0 0 1 1 ? *)"),
        ("*/15 * * * *", "cron(0/15 * * * ? *)"),
        ("5-59/15 * * * *", "cron(5/15 * * * ? *)"),
        ("0-30/10 * * * *", "cron(0,10,20,30 * * * ? *)"),
        ("0,30 9-17 * * MON-FRI", "cron(0,30 9-17 ? * MON-FRI *)"),
        ("0 9 * * 1-5", "cron(0 9 ? * MON-FRI *)"),
        ("0 9 * * 0", "cron(0 9 ? * SUN *)"),
        ("0 9 * * 7", "cron(0 9 ? * SUN *)"),
        ("0 9 * * FRI-SUN", "cron(0 9 ? * SUN,FRI,SAT *)"),
        ("0 9 * * 1,3,5", "cron(0 9 ? * MON,WED,FRI *)"),
        ("0 9 * * 0-6", "cron(0 9 ? * SUN-SAT *)"),
        ("0 9 1,15 JAN-MAR *", "cron(0 9 1,15 1-3 ? *)"),
        ("0 9 1-31/2 */3 ?", "cron(0 9 1/2 1/3 ? *)"),
        ("0 0 L * ?", "cron(0 0 L * ? *)"),
        ("0 0 15W * ?", "cron(0 0 15W * ? *)"),
        ("0 0 * * MON#2", "cron(0 0 ? * 2#2 *)"),
        ("0 0 ? * 0#1", "cron(0 0 ? * 1#1 *)"),
        ("0 0 * * FRIL", "cron(0 0 ? * 6L *)"),
        ("0 0 * * 7L", "cron(0 0 ? * 1L *)"),
    ];
    for (cron, expected) in table {
        assert_eq!(of_cron(cron), expected, "{cron}");
    }
}

#[test]
fn spans_are_rates_of_whole_minutes() {
    let check = |seconds: u64, expected: &str| {
        let span = Millis::from_secs(seconds);
        let found = Expression::of(&schedule(ScheduleRule::Every(span), "Europe/Berlin")).expect("a rate");
        assert_eq!((found.text.as_str(), found.timezone.as_str(), found.period), (expected, "UTC", Some(span)));
    };
    check(60, "rate(1 minute)");
    check(90 * 60, "rate(90 minutes)");
    check(3600, "rate(1 hour)");
    check(7200, "rate(2 hours)");
    check(86_400, "rate(1 day)");
    check(2 * 86_400, "rate(2 days)");
    check(366 * 86_400, "rate(366 days)");
}

#[test]
fn span_of_part_minutes_is_refused() {
    for (millis, shown, better) in [(1000, "1s", "1m"), (59_999, "59999ms", "1m"), (90_000, "90s", "2m")] {
        let refused = Expression::of(&schedule(ScheduleRule::Every(Millis(millis)), "UTC")).expect_err(shown);
        assert_eq!((refused.code, refused.path), ("WL0340", "schedule.every"));
        assert!(refused.message.contains("EventBridge Scheduler counts whole minutes"), "{}", refused.message);
        assert_eq!(refused.help, Some(format!("write `every: {better}`")));
    }
}

#[test]
fn a_rate_starts_at_a_due_time() {
    let now = Timestamp::parse_rfc3339("2026-11-22T00:07:11Z").expect("an instant");
    for seconds in [60, 300, 90 * 60, 86_400, 7 * 86_400] {
        let schedule = schedule(ScheduleRule::Every(Millis::from_secs(seconds)), "UTC");
        let start = Expression::of(&schedule).expect("a rate").start(now);
        assert_eq!(start, schedule.next_after(now));
    }
    assert_eq!(
        Expression::of(&schedule(ScheduleRule::Cron("0 0 * * *".into()), "UTC")).expect("fine").start(now),
        None
    );
}

/// A reader of AWS's spelling that shares nothing with its writer.
struct Reader {
    minutes: BTreeSet<u8>,
    hours: BTreeSet<u8>,
    day: String,
    months: BTreeSet<u8>,
    weekday: String,
}

fn read_set(text: &str, from: u8, to: u8) -> BTreeSet<u8> {
    let number = |text: &str| {
        let named = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"].iter().position(|name| *name == text);
        named.map_or_else(|| text.parse().expect("a number"), |at| u8::try_from(at).expect("small") + 1)
    };
    let item = |item: &str| -> Vec<u8> {
        match (item.split_once('/'), item.split_once('-')) {
            (Some((first, step)), _) => (number(first)..=to).step_by(usize::from(number(step))).collect(),
            (None, Some((first, last))) => (number(first)..=number(last)).collect(),
            (None, None) if item == "*" => (from..=to).collect(),
            (None, None) => vec![number(item)],
        }
    };
    text.split(',').flat_map(item).collect()
}

impl Reader {
    fn new(text: &str) -> Self {
        let inner = text.strip_prefix("cron(").and_then(|text| text.strip_suffix(')')).expect("cron(..)");
        let fields: Vec<&str> = inner.split(' ').collect();
        let [minute, hour, day, month, weekday, "*"] = fields[..] else { panic!("six fields: {text}") };
        assert_eq!([day, weekday].iter().filter(|field| **field == "?").count(), 1, "{text}");
        Self {
            minutes: read_set(minute, 0, 59),
            hours: read_set(hour, 0, 23),
            day: day.to_owned(),
            months: read_set(month, 1, 12),
            weekday: weekday.to_owned(),
        }
    }

    fn fits_date(&self, date: civil::Date) -> bool {
        let unsigned = |number: i8| number.unsigned_abs();
        let weekday = unsigned(date.weekday().to_sunday_one_offset());
        let last_day = date.last_of_month().day();
        let day = match self.day.as_str() {
            "?" => true,
            "L" => date.day() == last_day,
            nearest if nearest.ends_with('W') => {
                let wanted: i8 = nearest.trim_end_matches('W').parse().expect("a day");
                nearest_weekday(date, wanted).is_some_and(|nearest| nearest == date)
            }
            set => read_set(set, 1, 31).contains(&unsigned(date.day())),
        };
        let of_week = match (self.weekday.as_str(), self.weekday.split_once('#')) {
            ("?", _) => true,
            (_, Some((day, nth))) => {
                let nth: i8 = nth.parse().expect("a week");
                weekday.to_string() == day && (date.day() - 1) / 7 + 1 == nth
            }
            (last, None) if last.ends_with('L') => {
                weekday.to_string() == last.trim_end_matches('L') && date.day() + 7 > last_day
            }
            (set, None) => read_set(set, 1, 7).contains(&weekday),
        };
        self.months.contains(&unsigned(date.month())) && day && of_week
    }

    fn fits(&self, wall: civil::DateTime) -> bool {
        self.minutes.contains(&wall.minute().unsigned_abs())
            && self.hours.contains(&wall.hour().unsigned_abs())
            && self.fits_date(wall.date())
    }
}

fn nearest_weekday(date: civil::Date, wanted: i8) -> Option<civil::Date> {
    let day = civil::Date::new(date.year(), date.month(), wanted).ok()?;
    let by = match (day.weekday(), wanted) {
        (civil::Weekday::Saturday, 1) => 2,
        (civil::Weekday::Saturday, _) => -1,
        (civil::Weekday::Sunday, last) if last == date.last_of_month().day() => -2,
        (civil::Weekday::Sunday, _) => 1,
        _ => 0,
    };
    day.checked_add(jiff::Span::new().days(by)).ok()
}

/// The minutes from `after` to `until` that the zone's clock shows for the first time and that fit.
fn fired(text: &str, zone: &TimeZone, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    const QUARTER: i64 = 15;
    let reader = Reader::new(text);
    let wall = |minute: i64| zone.to_datetime(Timestamp::from_millis(minute * 60_000).to_jiff());
    let mut fired = Vec::new();
    let mut minute = after.as_millis().div_euclid(60_000) + 1;
    while minute * 60_000 <= until.as_millis() {
        let shown = wall(minute);
        // Clocks change, and dates begin, at quarters of an hour.
        if minute % QUARTER == 0 && !reader.fits_date(shown.date()) {
            minute += QUARTER;
            continue;
        }
        let is_first = || (1..=2 * 24 * 4).all(|back| wall(minute - back * QUARTER) != shown);
        if reader.fits(shown) && is_first() {
            fired.push(Timestamp::from_millis(minute * 60_000));
        }
        minute += 1;
    }
    fired
}

/// One case of the table that every host's schedules are tested against.
#[derive(Deserialize)]
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

fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).expect("a zone")
}

#[test]
fn the_table_of_all_hosts_holds() {
    let table = include_str!("../../../../testkit/cases/schedule.json");
    let cases: Vec<Case> = serde_json::from_str(table).expect("the table is JSON");
    let mut of_cron = 0;
    for case in &cases {
        let (after, due) = (instant(&case.after), case.due.iter().map(|due| instant(due)).collect::<Vec<_>>());
        let last = *due.last().expect("a due time");
        match (&case.cron, &case.every) {
            (Some(cron), _) => {
                let schedule = schedule(ScheduleRule::Cron(cron.clone()), &case.timezone);
                let expression = Expression::of(&schedule).expect("it can be kept");
                assert_eq!(fired(&expression.text, &zone(&case.timezone), after, last), due, "{}", case.name);
                of_cron += 1;
            }
            (None, every) => {
                let span = Millis::parse(every.as_deref().expect("`cron` or `every`")).expect("a span");
                let Ok(rate) = Expression::of(&schedule(ScheduleRule::Every(span), &case.timezone)) else { continue };
                let first = rate.start(after).expect("a start");
                let counted = std::iter::successors(Some(first), |time| Some(time.plus(span)));
                assert_eq!(counted.take(due.len()).collect::<Vec<_>>(), due, "{}", case.name);
            }
        }
    }
    assert!(of_cron > 20, "{of_cron} cases have a cron rule");
}

fn numbers(range: std::ops::RangeInclusive<u8>) -> impl Strategy<Value = BTreeSet<u8>> {
    let most = usize::from(range.end() - range.start()) + 1;
    proptest::collection::btree_set(range, 1..=most)
}

fn list(set: &BTreeSet<u8>) -> String {
    set.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

proptest! {
    #[test]
    fn rewritten_rule_reads_back_as_the_same_numbers(
        minutes in numbers(0..=59),
        hours in numbers(0..=23),
        days in numbers(1..=31),
        months in numbers(1..=12),
        weekdays in numbers(0..=6),
        of_week in any::<bool>(),
    ) {
        let [minute, hour, day, month, weekday] = [&minutes, &hours, &days, &months, &weekdays].map(list);
        let days_part = if of_week { format!("* {month} {weekday}") } else { format!("{day} {month} *") };
        let text = of_cron(&format!("{minute} {hour} {days_part}"));
        prop_assert!(text.len() <= MAX_EXPRESSION_BYTES);
        let read = Reader::new(&text);
        prop_assert_eq!((&read.minutes, &read.hours, &read.months), (&minutes, &hours, &months));
        if of_week {
            let ours = read_set(&read.weekday, 1, 7).into_iter().map(|day| day - 1).collect::<BTreeSet<_>>();
            prop_assert_eq!(ours, weekdays);
        } else {
            prop_assert_eq!(read_set(&read.day, 1, 31), days);
        }
    }
}

/// As long as a rule can become: nothing that a cron rule can say is too long, so far as is known.
#[test]
fn the_most_scattered_rule_fits() {
    let scattered = |from: u8, to: u8| list(&(from..=to).filter(|number| number % 3 != 0).collect());
    let rule = format!("{} {} {} {} *", scattered(0, 59), scattered(0, 23), scattered(1, 31), scattered(1, 12));
    let text = of_cron(&rule);
    assert!(text.len() <= MAX_EXPRESSION_BYTES, "{} characters: {text}", text.len());
}
