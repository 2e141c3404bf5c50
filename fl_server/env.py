"""Typed reading of environment variables, each of which says what it means.

`declared` keeps that for docs/settings.md. A value that can't be used never raises here: it is
noted in `problems`, its default takes its place so that the settings load, and the system check
`fl_server.E001` stops the start with the sentence.
"""

import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar

from django.core.management.utils import get_random_secret_key

T = TypeVar("T")

problems: list[str] = []

effective: dict[str, Any] = {}
"""What each variable has come to, in JSON; of a secret only whether there is one."""

CREDENTIALS = re.compile(r"//[^/\s]*@")
"""In a URL."""


@dataclass(frozen=True)
class Variable:
    """A line of docs/settings.md: names, meaning and default, in Markdown."""

    names: tuple[str, ...]
    meaning: str
    default: str


declared: dict[str, list[Variable]] = {}
"""All that are read, by the headings of docs/settings.md."""


def section(heading: str) -> None:
    """Have the variables that follow stand below this heading of docs/settings.md."""
    declared[heading] = []


def text(name: str, default: str, meaning: str, *, shown: str = "") -> str:
    """Return the variable without surrounding white space; an empty one counts as unset.

    Here as below `shown` stands in the docs in place of the default, if that depends on something.
    """
    _declare(name, meaning=meaning, default=shown or (f"`{default}`" if default else "none"))
    value = _read(name) or default
    effective[name] = CREDENTIALS.sub("//…@", value)
    return value


def secret(name: str, meaning: str, *, shown: str = "none") -> str:
    """Return the variable, or the content of the file that `<name>_FILE` names."""
    _declare(name, f"{name}_FILE", meaning=meaning, default=shown)
    value, path = _read(name), _read(f"{name}_FILE")
    if value and path:
        problems.append(f"Set {name} or {name}_FILE, not both.")
    if path and not value:
        value = _content(name, path)
    effective[name] = "set" if value else ""
    return value


def _content(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{name}_FILE can't be read: {error}.")
        return ""


def kept_secret(path: Path) -> str:
    """Return the secret kept in this file; the first caller makes it.

    The file appears with its content or not at all: several processes may start at once.
    """
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # mode 0600
            file.write(get_random_secret_key())
            file.flush()
            with suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text()


def integer(name: str, default: int, meaning: str, *, minimum: int = 0) -> int:
    """Return the variable as an integer of at least `minimum`."""
    _declare(name, meaning=meaning, default=str(default))
    return _number(name, default, minimum)


def size(name: str, default: int, meaning: str, *, minimum: int = 1) -> int:
    """Return the variable as a number of bytes, which the docs tell in KiB, MiB or GiB."""
    units = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"), (1, "bytes"))
    shown = next(f"{default // of} {unit}" for of, unit in units if default % of == 0)
    _declare(name, meaning=meaning, default=shown)
    return _number(name, default, minimum)


def boolean(name: str, meaning: str, *, default: bool, shown: str = "") -> bool:
    """Return the variable as a truth value: true/1/yes/on or false/0/no/off."""
    _declare(name, meaning=meaning, default=shown or str(default).lower())
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    return _parsed(name, default, lambda value: words[value.lower()], "true or false")


def choice(
    name: str, default: str, options: tuple[str, ...], meaning: str, *, shown: str = ""
) -> str:
    """Return the variable, which must be one of `options`."""
    _declare(name, meaning=meaning, default=shown or f"`{default}`")
    return _parsed(
        name, default, lambda value: options[options.index(value)], "one of " + ", ".join(options)
    )


def items(name: str, meaning: str, *, shown: str = "") -> list[str]:
    """Return the parts of a list whose separators are newlines or commas."""
    return _parts(text(name, "", meaning, shown=shown))


def secrets(name: str, meaning: str) -> list[str]:
    """Return the parts of such a list that is secret, from the variable or its file."""
    return _parts(secret(name, meaning))


def networks(
    name: str, default: str, meaning: str, *, shown: str = "none"
) -> list[IPv4Network | IPv6Network]:
    """Return a list of IP networks such as 10.0.0.0/8 or ::1."""
    _declare(name, meaning=meaning, default=shown)

    def parse(value: str) -> list[IPv4Network | IPv6Network]:
        return [ip_network(part) for part in _parts(value)]

    return _parsed(name, parse(default), parse, "networks as 10.0.0.0/8")


def is_installed(module: str) -> bool:
    """Whether there is such a module, and all that it is in."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def expect_none(prefix: str, *, without: str) -> None:
    """Note variables of this prefix as problems, because without that one they have no effect."""
    names = sorted(name for name in os.environ if name.startswith(prefix) and _read(name))
    problems.extend(f"{name} is set, but {without} is not." for name in names)


def _declare(*names: str, meaning: str, default: str) -> None:
    *_, latest = declared.values()
    latest.append(Variable(names, meaning, default))


def _read(name: str) -> str:
    return os.environ.get(name, "").strip()


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.replace(",", "\n").splitlines() if part.strip()]


def _number(name: str, default: int, minimum: int) -> int:
    def parse(value: str) -> int:
        number = int(value)
        if number < minimum:
            raise ValueError(value)
        return number

    return _parsed(name, default, parse, f"an integer of at least {minimum}")


def _parsed(name: str, default: T, parse: Callable[[str], T], wanted: str) -> T:
    value, found = _read(name), default
    try:
        found = parse(value) if value else default
    except (ValueError, KeyError):
        problems.append(f"{name} must be {wanted}, not {value!r}.")
    effective[name] = [str(part) for part in found] if isinstance(found, list) else found
    return found
