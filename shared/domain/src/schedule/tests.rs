use super::*;

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
