//! The stable codes of faults; `docs/errors` has a page for each.

/// The text is not YAML or JSON.
pub(super) const SYNTAX: &str = "WL0101";
/// Too many bytes, levels, actions or aliases.
pub(super) const TOO_LARGE: &str = "WL0102";
/// A key stands twice in one mapping.
pub(super) const DUPLICATE_KEY: &str = "WL0103";
/// A key that does not belong here.
pub(super) const UNKNOWN_KEY: &str = "WL0104";
/// A key that is missing.
pub(super) const MISSING_KEY: &str = "WL0105";
/// A value of the wrong type.
pub(super) const WRONG_TYPE: &str = "WL0106";
/// A value that is not allowed here.
pub(super) const NOT_ALLOWED: &str = "WL0107";
/// A text that is not a name.
pub(super) const NAME: &str = "WL0108";
/// Not exactly one of several keys.
pub(super) const EXACTLY_ONE: &str = "WL0109";
/// `needs` names an action that does not exist.
pub(super) const UNKNOWN_NEED: &str = "WL0110";
/// `needs` names an action twice, or the action itself.
pub(super) const REPEATED_NEED: &str = "WL0111";
/// Actions that need one another in a circle.
pub(super) const CYCLE: &str = "WL0112";
/// A span of time that is none, zero or too long.
pub(super) const SPAN: &str = "WL0113";
/// A retry policy that contradicts itself.
pub(super) const RETRY: &str = "WL0114";
/// A schedule that is not well formed, or is never due.
pub(super) const SCHEDULE: &str = "WL0115";
/// Something that can never happen.
pub(super) const UNREACHABLE: &str = "WL0116";
/// An input schema that is no JSON Schema, or takes unbounded time to check.
pub(super) const INPUT_SCHEMA: &str = "WL0117";
/// A default that its own schema refuses.
pub(super) const DEFAULT: &str = "WL0118";
/// A URL, program or handler that is not valid.
pub(super) const FACADE: &str = "WL0119";
/// An expression names an action that does not exist.
pub(super) const UNKNOWN_REFERENCE: &str = "WL0206";
/// An expression names an action that may not have ended by then.
pub(super) const UNSETTLED_REFERENCE: &str = "WL0207";
/// An expression reads a key that nothing there can have.
pub(super) const NO_VALUE: &str = "WL0208";
/// An input that the schema refuses.
pub(super) const INPUT: &str = "WL0210";
/// An input that is too large.
pub(super) const INPUT_TOO_LARGE: &str = "WL0211";
