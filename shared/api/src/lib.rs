//! The coordinator's HTTP API as an axum app.
