"""What a class understood: one page and one table from stored outcomes and the gradebook."""
