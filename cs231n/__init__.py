"""CS231n's second assignment: layers, update rules and networks that you write yourself."""
