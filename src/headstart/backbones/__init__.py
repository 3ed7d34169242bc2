"""What the pretrained model is: specs as data, weights that are verified, and the loaders that run them."""

from headstart.backbones.backbone import Backbone, Batch
from headstart.backbones.catalogue import catalogue, starters
from headstart.backbones.precision import Precision, pick_device, pick_precision
from headstart.backbones.resolve import Local, load, open_local, resolve
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source, TextInput

__all__ = [
    "Backbone",
    "BackboneSpec",
    "Batch",
    "ImageInput",
    "Layer",
    "Local",
    "Precision",
    "Source",
    "TextInput",
    "catalogue",
    "load",
    "open_local",
    "pick_device",
    "pick_precision",
    "resolve",
    "starters",
]
