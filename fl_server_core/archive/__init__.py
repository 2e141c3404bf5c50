"""Reading and writing model files without torch: tensors, pickles, zip members."""
