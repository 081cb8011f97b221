"""Commands for the time before a run: what the machine has, what a run will need, videos to try."""
