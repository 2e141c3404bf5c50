"""A user's line to the server: asking it, and being the same user again after a restart."""

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter, Retry


class Server:
    """The server, as one user speaks to it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.session = requests.Session()  # retries broken connections and 5xx for half a minute
        retry = Retry(6, backoff_factor=0.5, status_forcelist=range(500, 600), allowed_methods=None)
        self.session.mount(self.url, HTTPAdapter(max_retries=retry))

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Raise requests.HTTPError with the server's reason when it refuses."""
        answer = self.session.request(method, f"{self.url}/api{path}", timeout=60, **options)
        if not answer.ok:
            raise requests.HTTPError(f"{method} {path}: {answer.text}", response=answer)
        return answer

    def be(self, token: str) -> dict[str, Any] | None:
        """Speak as the user with this token from now on; None where the server knows none."""
        self.session.headers["Authorization"] = f"Token {token}"
        try:
            return self.ask("GET", "/users/myself/").json()
        except requests.HTTPError as error:
            if error.response.status_code != 401:
                raise
            return None

    def resume(self, name: str, folder: Path) -> dict[str, Any] | None:
        """Be the user who registered here under this name before; None where nobody did."""
        return self.be(file.read_text()) if (file := self.file(name, folder)).exists() else None

    def register(self, name: str, folder: Path, **details: Any) -> dict[str, Any]:
        """Be a new user, and keep its token in the folder, readable for oneself alone."""
        file = self.file(name, folder)
        file.touch(mode=0o600)  # before: who can't keep the token shouldn't take the name
        form = {"username": name, "password": secrets.token_urlsafe(), **details}
        user = self.ask("POST", "/users/", json=form).json()
        file.write_text(user["token"])
        self.session.headers["Authorization"] = f"Token {user['token']}"
        return user

    def file(self, name: str, folder: Path, kind: str = ".token") -> Path:
        """Return where a user keeps it: one for each server, which must not see another's."""
        return folder / f"{quote(f'{name}@{self.url}', safe='@')}{kind}"
