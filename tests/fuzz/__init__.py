"""Coverage-guided fuzzing of everything that reads bytes from outside.

For each target: any bytes give one typed error or a valid result. `python -m tests.fuzz NAME
--seconds 600` looks for bytes that do not; what it keeps stands in `seeds/NAME` and is replayed by
`test_seeds.py`, which needs no fuzzer.
"""
