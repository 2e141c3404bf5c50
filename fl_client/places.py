"""Where a user of this machine keeps tokens, which nobody else may read, and what else lasts.

Tokens lie in `$XDG_CONFIG_HOME/fl` (`~/.config/fl`), one file for each name and server; messages
and models in `$XDG_STATE_HOME/fl` (`~/.local/state/fl`).
"""

import json
import os
from pathlib import Path
from urllib.parse import quote

SERVER = "http://127.0.0.1:8000"

PRIVATE, PRIVATE_FOLDER = 0o600, 0o700


def server() -> str:
    """Return where the server is, if nothing else says so."""
    return os.environ.get("FL_URL") or SERVER


def config_folder() -> Path:
    """Return the folder of tokens."""
    return _folder("XDG_CONFIG_HOME", ".config")


def state_folder(name: str, url: str) -> Path:
    """Return the folder of what one user keeps of one server."""
    folder = _folder("XDG_STATE_HOME", ".local/state") / _who(name, url)
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    return folder


def keep(name: str, url: str, kind: str, content: str) -> None:
    """Keep a user's `token`, or another secret, in a file of mode 600."""
    _write(config_folder() / f"{_who(name, url)}.{kind}", content)


def kept(name: str, url: str, kind: str) -> str:
    """Return a secret that was kept; nothing if there is none."""
    return _read(config_folder() / f"{_who(name, url)}.{kind}")


def forget(name: str, url: str, kind: str) -> None:
    """Delete a secret that is of no more use."""
    (config_folder() / f"{_who(name, url)}.{kind}").unlink(missing_ok=True)


def keep_login(name: str, url: str) -> None:
    """Note as whom, and where, the command line goes on."""
    _write(config_folder() / "login.json", json.dumps({"name": name, "url": url}))


def kept_login() -> dict[str, str]:
    """Return the name and URL that were noted; nothing if there are none."""
    login: dict[str, str] = json.loads(_read(config_folder() / "login.json") or "{}")
    return login


def _folder(variable: str, default: str) -> Path:
    base = Path(os.environ.get(variable) or Path.home() / default)
    folder = base / "fl"
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    return folder


def _who(name: str, url: str) -> str:
    return quote(f"{name}@{url.rstrip('/')}", safe="@")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _write(path: Path, content: str) -> None:
    """Write a file that is whole or as it was, and never readable for others."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "w") as file:
        file.write(content)
    part.replace(path)
