"""Sounds: which files are any, what a model is given of them, and what problems of sounds share."""
