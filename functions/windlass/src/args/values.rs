//! Reads the values of options.

use windlass_domain::ids::PoolName;
use windlass_domain::limits::MAX_SPAN_MS;
use windlass_domain::run::RunStatus;
use windlass_domain::time::Millis;
use windlass_facade::{Credentials, IpNet, Targets};

pub(super) fn pool_slots(text: &str) -> Result<(PoolName, u32), String> {
    let (name, slots) = text.split_once('=').ok_or("write it as NAME=SLOTS, such as default=8")?;
    let name = name.parse::<PoolName>().map_err(|error| error.to_string())?;
    match slots.parse() {
        Ok(slots @ 1..=10_000) => Ok((name, slots)),
        _ => Err(format!("`{slots}` is not a number of slots from 1 to 10000")),
    }
}

pub(super) fn host_name(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
    if is_name { Ok(text.to_owned()) } else { Err("write a name as it stands in URLs, without `https://`".to_owned()) }
}

pub(super) fn span(text: &str) -> Result<Millis, String> {
    Millis::parse(text).ok_or_else(|| "write a time with its unit, such as 500ms, 20s, 10m or 1h30m".to_owned())
}

pub(super) fn keep(text: &str) -> Result<Millis, String> {
    let keep = span(text)?;
    if (1000..=MAX_SPAN_MS).contains(&keep.0) { Ok(keep) } else { Err("it must be from 1s to 366d".to_owned()) }
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    Targets::network(text).ok_or_else(|| "write a network such as 10.0.0.0/8 or fd00::/8, or one address".to_owned())
}

pub(super) fn credentials(text: &str) -> Result<Credentials, String> {
    Credentials::parse(text).ok_or_else(|| "write `none` or `inherit`".to_owned())
}

pub(super) fn run_status(text: &str) -> Result<RunStatus, String> {
    let known = RunStatus::ALL.into_iter().find(|status| status.as_str() == text);
    known.ok_or_else(|| format!("a status is one of {}", RunStatus::ALL.map(RunStatus::as_str).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_have_slots() {
        assert_eq!(pool_slots("big=12"), Ok((PoolName::new("big").expect("a name"), 12)));
        assert!(pool_slots("big").is_err());
        assert!(pool_slots("big=0").is_err());
        assert!(pool_slots("b!g=1").is_err());
    }

    #[test]
    fn host_names_are_names_and_no_urls() {
        for name in ["windlass.example.com", "a-b:8443", "[::1]:80", "10.0.0.7"] {
            assert_eq!(host_name(name).as_deref(), Ok(name));
        }
        for other in ["https://a.example", "a.example/", "", "a b", "*.example.com"] {
            assert!(host_name(other).is_err(), "{other}");
        }
    }
}
