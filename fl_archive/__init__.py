"""Model files, read and written without torch: none of their code is imported or run.

    admit_model    an actor's file, a model or weights alone: checked, written afresh, opened
    admit_module   the same for what must be callable: preprocessing
    read_model     any model file: its tensors by name
    admit_update   a participant's file: checked against the model, kept as plain numbers
    admit_moments  the same for SWAG moments
    write_model    a model's file with other weights
    TensorFile, write_tensor_file   safetensors, the form in which numbers are kept

Which formats are read is said in `formats`, what a file may hold to be admitted in `admitted`, what
can be wrong in `errors`.
"""

from fl_archive.admission import admit_model, admit_module
from fl_archive.errors import ArchiveError, HoldsCode, Mismatch, NotAModel, Refused
from fl_archive.model import ModelFile, TensorSpec, read_model
from fl_archive.safetensors_file import DTYPES, TensorFile, TensorInfo, write_tensor_file
from fl_archive.update import admit_moments, admit_update
from fl_archive.writer import write_model

__all__ = [
    "DTYPES",
    "ArchiveError",
    "HoldsCode",
    "Mismatch",
    "ModelFile",
    "NotAModel",
    "Refused",
    "TensorFile",
    "TensorInfo",
    "TensorSpec",
    "admit_model",
    "admit_module",
    "admit_moments",
    "admit_update",
    "read_model",
    "write_model",
    "write_tensor_file",
]
