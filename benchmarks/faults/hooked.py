"""Importing this guards the calls of a process; the fork server does so first, as the package keeps some calls as defaults."""

from benchmarks.faults.crash_hook import install

install()
