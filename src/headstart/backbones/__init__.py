"""What the pretrained model is: specs as data, weights that are verified, and the loaders that run them.

Nothing is imported here, so that whoever looks at the catalogue loads no numpy.
"""
