//! How an agent performs an action: exec, http, native.
