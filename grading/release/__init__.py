"""From the masters in grading/solutions to what students get."""
