"""The local AWS stack: `up`, `down` and `ps`, one subject per file."""
