"""From a request's bytes to a prediction. Imports torch: for runners alone.

decoding, images   recognise what came in and make a tensor of it
predicting         preprocessing, shape, model
packing            the prediction as JSON, pickle or safetensors
summary            torchinfo's description of the layers
"""
