"""The exceptions that headstart raises on purpose.

    HeadstartError
    ├── OptionError (ValueError)    an option or argument is outside its rule
    ├── DataError (ValueError)      the data cannot be used as it is
    ├── BackboneError               a backbone cannot be named, found, verified or loaded
    │   └── OfflineError            it would have to be fetched, and there is no network
    ├── StoreError                  the feature store cannot be read or written
    ├── BundleError                 a bundle is missing, changed, or from another schema
    └── OutputError                 a result cannot be written where it was asked for

Each message is one sentence: what is wrong, what the rule is, what was given. What to do about it is the `hint`.
The command line prints both and exits with code 2.
"""

from __future__ import annotations


class HeadstartError(Exception):
    """Something that the user can put right.

    Attributes:
        hint: What to do about it, or an empty string.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class OptionError(HeadstartError, ValueError):
    """An option or argument is outside its rule."""


class DataError(HeadstartError, ValueError):
    """The data cannot be used as it is."""


class BackboneError(HeadstartError):
    """A backbone cannot be named, found, verified or loaded."""


class OfflineError(BackboneError):
    """A backbone would have to be fetched, and there is no network."""


class StoreError(HeadstartError):
    """The feature store cannot be read or written."""


class BundleError(HeadstartError):
    """A bundle is missing, was changed, or has a schema that this version does not know."""


class OutputError(HeadstartError):
    """A result cannot be written where it was asked for."""
