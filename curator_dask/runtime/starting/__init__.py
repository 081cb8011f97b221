"""What new processes leave alone: the script of the caller, and pandas until somebody uses it."""
