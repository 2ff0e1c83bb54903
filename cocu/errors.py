"""Errors that a user meets: a sentence each, and the exit code that the command line ends with."""


class CocuError(Exception):
    """A sentence that says what is wrong, where, and what to do."""

    exit_code = 1


class ConfigError(CocuError):
    """The configuration is wrong."""

    exit_code = 2


class DataError(CocuError):
    """Input files are missing, damaged, or do not belong together."""

    exit_code = 3


class NumericsError(CocuError):
    """A value is not finite, or an array has not the shape or norm it must have."""

    exit_code = 4


class EnvironmentFault(CocuError):
    """A package, a device or disk space is missing."""

    exit_code = 5


def missing(asked: str, install: str, error: ImportError) -> EnvironmentFault:
    """The fault of a package that only some commands need: `asked` is what the user wanted, the sentence's subject."""
    return EnvironmentFault(
        f"{asked} needs a package that is missing or broken ({error}): run `pip install {install}`."
    )
