"""Tests of infra/ and localstack/: `.venv/bin/python -m unittest discover -s tests/infra -t .` (tests/run does)."""
