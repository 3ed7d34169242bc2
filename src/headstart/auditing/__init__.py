"""What is wrong with the data, or remarkable about it, before any number is believed.

Every check is a function of items, labels, features and probabilities that gives findings; none computes features.
"""

from __future__ import annotations

from headstart.auditing.finding import Example, Finding, Severity, most_serious_first

__all__ = ["Example", "Finding", "Severity", "most_serious_first"]
