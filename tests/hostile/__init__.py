"""Submissions that cheat, break or exhaust, and what they are graded with: `make hostile`."""
