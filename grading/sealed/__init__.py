"""The wall between the grader and a student's code: wire, worker (child), sandbox (parent)."""
