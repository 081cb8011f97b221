"""The version, apart so that a build can read it without the package."""

__version__ = "0.1.0"
