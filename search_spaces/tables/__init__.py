"""Readers of tabular benchmarks, one file a benchmark; plain CSV and JSON only, nothing is ever unpickled."""
