"""The markers of finished units: one small file each at first, then many in one file."""
