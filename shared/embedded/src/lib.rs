//! The engine's ports on one durable SQLite file.
