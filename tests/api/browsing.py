"""Somebody who looks at pages, and what such a page says."""

import re
from html import unescape

from django.test import Client


def browser_of(user, **kwargs):
    """Return a browser in which the user is signed in."""
    browser = Client(headers={"Accept": "text/html"}, **kwargs)
    browser.force_login(user)
    return browser


def text_of(answer):
    """Return the words of a page, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.content.decode())).split())


def told(answer):
    """Return the messages on the page that an answer leads to."""
    assert answer.status_code == 302, answer.content
    return [str(message) for message in answer.wsgi_request._messages]
