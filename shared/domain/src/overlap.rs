//! What happens when a run is due while the one before it is open.
