"""Which parts of a multipart form are files.

Django takes a part for a file if it has a `filename=`; others are text and read into memory. But
some clients send none (Go's CreateFormField, `curl -F 'model_file=<model.pt'`), or one that Django
drops, such as "" and "..". So a field for files is recognised by its name here, unless it is empty,
which is what browsers send if no file was chosen.
"""

from typing import Any

from django.http import multipartparser
from django.http.multipartparser import FILE, MultiPartParserError

FILES = frozenset(
    {
        "model_file",
        "model_preprocessing_file",
        "first_moment_file",
        "second_moment_file",
        "serving_file",
        "model_input",
    }
)
ENCODINGS = ("7bit", "8bit", "base64", "binary")
_read_part: Any = vars(multipartparser)["parse_boundary_stream"]  # the stubs know none


def read_part(stream: Any, max_header_size: int) -> tuple[str, dict[str, Any], Any]:
    """Return a part's type, headers and content, as Django's `parse_boundary_stream` does."""
    kind, headers, content = _read_part(stream, max_header_size)
    _, parameters = headers.get("content-disposition", ("", {}))
    name = parameters.get("name", b"").strip().decode(errors="replace")
    if name in FILES and _is_filled(content):
        encoding, *_ = headers.get("content-transfer-encoding", ("binary",))
        if encoding.strip() not in ENCODINGS:
            raise MultiPartParserError("A file's Content-Transfer-Encoding is binary or base64.")
        kind, parameters["filename"] = FILE, b"file"
    return kind, headers, content


def _is_filled(content: Any) -> bool:
    first = content.read(1)
    content.unget(first)
    return bool(first)


def install() -> None:
    """Have Django's parser use `read_part`, by replacing its function: it offers no other way."""
    vars(multipartparser)["parse_boundary_stream"] = read_part
