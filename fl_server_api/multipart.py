"""Which parts of a multipart form are files.

Django takes for a file what has a `filename=`; the rest is text and read into memory. Clients
leave it out (Go's CreateFormField, `curl -F 'model_file=<model.pt'`) or send one that Django
drops, as "" and "..". So a field that holds files is one by its name, unless it is empty: that is
what browsers send where no file was chosen.
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
    """Have Django's parser read parts so, which offers no other way in."""
    vars(multipartparser)["parse_boundary_stream"] = read_part
