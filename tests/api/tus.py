"""Speaking the tus protocol by Django's test client."""

import base64
import hashlib

from fl_server_core.models import Upload

URL = "/api/uploads/"
VERSION = {"tus-resumable": "1.0.0"}
KIND = "application/offset+octet-stream"


def ask(client, method, upload="", content=b"", kind=KIND, **headers):
    """Send a request whose headers are as named, with underscores."""
    told = VERSION | {name.replace("_", "-"): str(value) for name, value in headers.items()}
    url = f"{URL}{upload and f'{upload}/'}"
    return client.generic(method, url, content, kind, headers=told)


def begin(client, length, **headers):
    """Begin an upload; return its row."""
    answer = ask(client, "POST", upload_length=length, **headers)
    assert answer.status_code == 201, answer.content
    return Upload.objects.get(pk=answer["Location"].split("/")[-2])


def patch(client, upload, content, offset=0, **headers):
    return ask(client, "PATCH", upload.pk, content, upload_offset=offset, **headers)


def sent(client, content):
    """Send all of a file; return the upload's row."""
    upload = begin(client, len(content))
    assert patch(client, upload, content).status_code == 204
    return upload


def checksum(content, algorithm="sha1"):
    digest = hashlib.new(algorithm, content).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"
