"""Answers that aren't JSON: a view streams them, these only have a name and a type for them.

What goes wrong is told in JSON all the same.
"""

from rest_framework.renderers import JSONRenderer


class StreamRenderer(JSONRenderer):
    """A form that a view writes itself; by its `format` or its media type a client asks for it."""


class CSVRenderer(StreamRenderer):
    """A table."""

    media_type = "text/csv"
    format = "csv"


class TensorBoardRenderer(StreamRenderer):
    """A zip of TensorBoard's event files."""

    media_type = "application/zip"
    format = "tensorboard"
