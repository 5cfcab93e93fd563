//! The size of an item, by the rules of `DynamoDB`'s developer guide
//! (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>).

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// An item, as the SDK has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// Bytes of one read unit.
const READ_UNIT_BYTES: usize = 4 * 1024;
/// Bytes of one write unit.
const WRITE_UNIT_BYTES: usize = 1024;
/// Bytes that a list or a map has beside its elements.
const NESTED_BYTES: usize = 3;

/// The bytes of an item: the names of its attributes and their values.
pub(crate) fn item_bytes(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of values that are not known here have no size here")]
fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number_bytes(number),
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Ns(numbers) => numbers.iter().map(|number| number_bytes(number)).sum(),
        AttributeValue::Bs(blobs) => blobs.iter().map(|blob| blob.as_ref().len()).sum(),
        AttributeValue::L(values) => NESTED_BYTES + values.iter().map(|value| 1 + value_bytes(value)).sum::<usize>(),
        AttributeValue::M(values) => {
            NESTED_BYTES + values.iter().map(|(name, value)| 1 + name.len() + value_bytes(value)).sum::<usize>()
        }
        // A truth value, or null.
        _ => 1,
    }
}

/// About a byte for two significant digits, and one more.
fn number_bytes(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_start_matches('0').trim_end_matches('0').len();
    significant.div_ceil(2) + 1 + usize::from(number.starts_with('-'))
}

/// The units of one read of that many bytes; a missing item costs as much as the smallest one.
#[expect(clippy::cast_precision_loss, reason = "an answer has at most 16 MB")]
pub(super) fn read_units(bytes: usize, consistent: bool) -> f64 {
    let units = bytes.div_ceil(READ_UNIT_BYTES).max(1) as f64;
    if consistent { units } else { units / 2.0 }
}

/// The units of one write of an item of that many bytes.
#[expect(clippy::cast_precision_loss, reason = "an item has at most 400 KB")]
pub(crate) fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(WRITE_UNIT_BYTES).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: AttributeValue, bytes: usize) {
        let item = HashMap::from([("ab".to_owned(), value)]);
        assert_eq!(item_bytes(&item), 2 + bytes, "{item:?}");
    }

    #[test]
    fn each_kind_of_value_has_its_size() {
        check(AttributeValue::S("žlutý".to_owned()), 7);
        check(AttributeValue::N("0".to_owned()), 1);
        check(AttributeValue::N("1753".to_owned()), 3);
        check(AttributeValue::N("-1753000".to_owned()), 4);
        check(AttributeValue::N("0.00125e7".to_owned()), 3);
        check(AttributeValue::B(vec![0; 9].into()), 9);
        check(AttributeValue::Bool(true), 1);
        check(AttributeValue::Null(true), 1);
        check(AttributeValue::L(vec![AttributeValue::S("abc".to_owned()); 2]), 3 + 2 * 4);
        check(AttributeValue::M(HashMap::from([("k".to_owned(), AttributeValue::Bool(true))])), 3 + 1 + 1 + 1);
        check(AttributeValue::Ss(vec!["ab".to_owned(), "c".to_owned()]), 3);
    }

    #[test]
    fn units_are_rounded_up() {
        assert!([0, 1, 4096].iter().all(|bytes| read_units(*bytes, true).eq(&1.0)));
        assert!(read_units(4097, true).eq(&2.0) && read_units(4097, false).eq(&1.0));
        assert!(write_units(0).eq(&1.0) && write_units(1024).eq(&1.0) && write_units(1025).eq(&2.0));
    }
}
