"""What the API's description says of the views: parameters, bodies, answers, refusals.

One module per noun, as in `views`. Its `documented` decorates the noun's ViewSet, so that the
views show what is done and nothing else.
"""
