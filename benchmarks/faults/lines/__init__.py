"""What the campaign does: one file per subject, one function per line."""
