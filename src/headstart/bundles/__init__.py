"""What we hand over: a bundle of weights, preprocessing, labels, calibration and card."""

from __future__ import annotations

from headstart.bundles.manifest import Manifest
from headstart.bundles.read import Bundle, open_bundle
from headstart.bundles.write import write_bundle

__all__ = ["Bundle", "Manifest", "open_bundle", "write_bundle"]
