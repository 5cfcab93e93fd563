//! A definition's text as a tree in which every key and value knows its place.

use serde_json::{Map, Number, Value};

use super::path::{Path, Segment};
use super::place::Place;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A scalar without quotes: its spelling decides its type.
    Plain(String),
    /// Text.
    Text(String),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the text.
    Mapping(Vec<Entry>),
}

/// An entry of a mapping.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) value: Node,
}

impl Node {
    /// The place of the key and the node that stand at a path, as far as it goes.
    pub(super) fn find(&self, path: &[Segment<'_>]) -> (Place, &Node) {
        let (mut key, mut node) = (self.place, self);
        for segment in path {
            let next = match (&node.content, segment) {
                (Content::Mapping(entries), Segment::Key(name)) => {
                    entries.iter().find(|entry| entry.key == *name).map(|entry| (entry.key_place, &entry.value))
                }
                (Content::Sequence(items), Segment::Index(index)) => items.get(*index).map(|item| (item.place, item)),
                _ => None,
            };
            let Some(found) = next else { return (key, node) };
            (key, node) = found;
        }
        (key, node)
    }

    /// The place of the character that many bytes into this node's text. If the source has escapes or folded lines, it
    /// is the node's own place.
    pub(super) fn place_in_text(&self, text: &str, offset: usize) -> Place {
        let (Content::Plain(value) | Content::Text(value)) = &self.content else { return self.place };
        let end = self.place.offset + self.place.len;
        let Some(written) = text.get(self.place.offset..end) else { return self.place };
        let Some(start) = written.find(value.as_str()) else { return self.place };
        let Some(before) = written.get(..start + offset.min(value.len())) else { return self.place };
        let lines = before.matches('\n').count();
        let last_line = before.rsplit('\n').next().unwrap_or(before).chars().count();
        Place {
            line: self.place.line + lines,
            column: if lines == 0 { self.place.column + last_line } else { last_line + 1 },
            offset: self.place.offset + before.len(),
            len: written[before.len()..].chars().next().map_or(0, char::len_utf8),
        }
    }

    /// The tree as JSON. In a place for text, a scalar without quotes stays as it is written.
    pub(super) fn to_json(&self, path: &Path<'_>) -> Result<Value, ScalarError> {
        Ok(match &self.content {
            Content::Text(text) => Value::String(text.clone()),
            Content::Plain(text) => match resolve(text) {
                Ok(Value::Number(_) | Value::Bool(_)) | Err(_) if wants_text(path) => Value::String(text.clone()),
                Ok(value) => value,
                Err(message) => return Err(ScalarError { place: self.place, path: path.to_string(), message }),
            },
            Content::Sequence(items) => {
                let items = items.iter().enumerate().map(|(index, item)| item.to_json(&path.index(index)));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Content::Mapping(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for entry in entries {
                    map.insert(entry.key.clone(), entry.value.to_json(&path.key(&entry.key))?);
                }
                Value::Object(map)
            }
        })
    }
}

/// A scalar without a value in JSON.
pub(super) struct ScalarError {
    pub(super) place: Place,
    pub(super) path: String,
    pub(super) message: String,
}

/// Whether the path is a place for text, so that `1.10` or `yes` or `007` counts letter by letter.
fn wants_text(path: &Path<'_>) -> bool {
    use Segment::{Index, Key};
    matches!(
        path.segments().as_slice(),
        [Key("labels"), Key(_)]
            | [Key("actions"), Key(_), Key("exec"), Index(_)]
            | [Key("actions"), Key(_), Key("exec"), Key("command"), Index(_)]
            | [Key("actions"), Key(_), Key("exec"), Key("env"), Key(_)]
            | [Key("actions"), Key(_), Key("http"), Key("headers"), Key(_)]
    )
}

/// The value of a scalar without quotes, by YAML's core schema (YAML 1.2.2, 10.3.2).
fn resolve(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(format!("`{text}` is not a number that JSON knows"));
    }
    if let Some(number) = radix(text, "0x", 16).or_else(|| radix(text, "0o", 8)) {
        return Ok(number);
    }
    if !is_number(unsigned) {
        return Ok(Value::String(text.to_owned()));
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = text.parse::<i64>() {
        return Ok(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Ok(number.into());
    }
    let number = text.parse::<f64>().ok().and_then(Number::from_f64);
    number.map(Value::Number).ok_or_else(|| format!("`{text}` is too large a number"))
}

fn radix(text: &str, prefix: &str, radix: u32) -> Option<Value> {
    let digits = text.strip_prefix(prefix)?;
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().map(Value::from)
}

/// `[0-9]+`, or a number with a point, an exponent, or both.
fn is_number(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(text: &str, value: &Value) {
        assert_eq!(resolve(text).as_ref(), Ok(value), "{text}");
    }

    #[test]
    fn scalars_are_read_by_the_core_schema() {
        check("", &json!(null));
        check("~", &json!(null));
        check("True", &json!(true));
        check("no", &json!("no"));
        check("-12", &json!(-12));
        check("+7", &json!(7));
        check("0x1F", &json!(31));
        check("0o17", &json!(15));
        check("0xyz", &json!("0xyz"));
        check("18446744073709551615", &json!(u64::MAX));
        check("1.5e3", &json!(1500.0));
        check(".5", &json!(0.5));
        check(".", &json!("."));
        check("e5", &json!("e5"));
        check("1.2.3", &json!("1.2.3"));
        check("2h", &json!("2h"));
        check("12:30", &json!("12:30"));
        assert!(resolve("1e999").is_err());
        assert!(resolve("-.inf").is_err());
    }
}
