//! The secrets of a request, blacked out where the endpoint sends them back.

use serde_json::{Map, Value};

/// Texts shorter than this are not taken for secrets: their removal would garble any message.
const MIN_BYTES: usize = 6;
/// In an output they must be this long. It is data, in which a short word has a meaning.
const MIN_BYTES_IN_OUTPUT: usize = 12;
/// Stands in the place of a secret.
const BLACK: &str = "***";

/// Values that must appear nowhere, in whatever case.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// These, without the short ones.
    pub(super) fn new(mut secrets: Vec<String>) -> Self {
        secrets.retain(|secret| secret.len() >= MIN_BYTES);
        // One may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    #[cfg(test)]
    pub(super) fn list(&self) -> &[String] {
        &self.0
    }

    /// A message without them.
    pub(super) fn without(&self, text: String) -> String {
        blacked_out(text, self.0.iter())
    }

    /// An output without them.
    pub(super) fn without_in(&self, output: Value) -> Value {
        let long = || self.0.iter().filter(|secret| secret.len() >= MIN_BYTES_IN_OUTPUT);
        if long().next().is_none() {
            return output;
        }
        match output {
            Value::String(text) => Value::String(blacked_out(text, long())),
            Value::Array(items) => items.into_iter().map(|item| self.without_in(item)).collect(),
            Value::Object(map) => {
                let entries = map.into_iter().map(|(key, item)| (blacked_out(key, long()), self.without_in(item)));
                Value::Object(entries.collect::<Map<_, _>>())
            }
            other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
        }
    }
}

fn blacked_out<'s>(text: String, secrets: impl Iterator<Item = &'s String>) -> String {
    secrets.fold(text, |text, secret| {
        // Lower case of ASCII has the same bytes at the same places.
        let (lower, secret) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
        let (mut kept, mut at) = (String::with_capacity(text.len()), 0);
        for (found, _) in lower.match_indices(&secret) {
            kept.push_str(&text[at..found]);
            kept.push_str(BLACK);
            at = found + secret.len();
        }
        kept.push_str(&text[at..]);
        kept
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_blacked_out_in_any_case() {
        let secrets = Secrets::new(vec!["Token-1234".to_owned(), "ab".to_owned(), "Bearer Token-1234".to_owned()]);
        let text = "ab TOKEN-1234, ä token-1234ä bearer Token-1234".to_owned();
        assert_eq!(secrets.without(text), "ab ***, ä ***ä ***");
    }

    #[test]
    fn outputs_keep_short_words() {
        let secrets = Secrets::new(vec!["session-0123456789".to_owned(), "german".to_owned()]);
        let output = json!({ "SESSION-0123456789": ["x session-0123456789", 7, "german", null] });
        assert_eq!(secrets.without_in(output), json!({ "***": ["x ***", 7, "german", null] }));
    }
}
