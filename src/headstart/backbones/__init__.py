"""What the pretrained model is: specs as data, weights that are verified, and the loaders that run them."""

from headstart.backbones.backbone import Backbone, Batch
from headstart.backbones.catalogue import Entry, Evidence, catalogue, entries, select, starters
from headstart.backbones.locate import hub_is_offline
from headstart.backbones.precision import Precision, pick_device, pick_precision
from headstart.backbones.presence import places
from headstart.backbones.pull import pull
from headstart.backbones.resolve import Local, load, open_local, resolve, source_head
from headstart.backbones.source_head import SourceHead
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source, TextInput

__all__ = [
    "Backbone",
    "BackboneSpec",
    "Batch",
    "Entry",
    "Evidence",
    "ImageInput",
    "Layer",
    "Local",
    "Precision",
    "Source",
    "SourceHead",
    "TextInput",
    "catalogue",
    "entries",
    "hub_is_offline",
    "load",
    "open_local",
    "pick_device",
    "pick_precision",
    "places",
    "pull",
    "resolve",
    "select",
    "source_head",
    "starters",
]
