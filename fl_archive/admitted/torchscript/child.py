"""The process that reads the code: `{member: source}` as JSON in; out, the same with guards
around its numbers, or the sentence of a refusal.
"""

import json
import resource
import sys
from collections.abc import Mapping

from .declarations import Declarations
from .source_files import SourceFile
from .words import Denied

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 10


def check(sources: Mapping[str, str]) -> dict[str, str] | str:
    """The sources as they may be loaded, or the sentence of a refusal."""
    declarations = Declarations()
    try:
        files = [SourceFile(declarations, name, text) for name, text in sources.items()]
        for file in files:
            file.check()
        declarations.check_uses()
        return {file.name: file.edited() for file in files}
    except Denied as denied:
        return str(denied)
    except (SyntaxError, MemoryError, RecursionError) as error:
        return f"the code can't be read ({type(error).__name__}); save it with torch.jit.save."


def main() -> None:
    """Answer once; the limits are set before anything of the file is read."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    json.dump(check(json.load(sys.stdin)), sys.stdout)
