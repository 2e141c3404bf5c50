"""What stands before each page, and what pages ask of the API's views.

So who may do what, and each refusal, is said once.
"""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from rest_framework.authentication import SessionAuthentication
from rest_framework.response import Response

from fl_server_api.errors import handle
from fl_server_api.views.base import ViewSet

Page = Callable[..., HttpResponse]


def page(view: Page) -> Page:
    """Have who isn't signed in do that first, and show what is refused as a page.

    A stranger sees the page of what isn't there, and learns nothing of what is.
    """

    @wraps(view)
    def shown(request: HttpRequest, **named: Any) -> HttpResponse:
        try:
            return view(request, **named)
        except Exception as error:  # here the request ends
            return refused(request, handle(error, {"request": request}))

    return login_required(shown, login_url="rest_framework:login")


def ask(request: HttpRequest, views: type[ViewSet], action: str, **named: str) -> Response:
    """Return what a view of the API answers to this browser's session, not yet written out."""
    method = "post" if request.method == "POST" else "get"
    view = views.as_view({method: action}, authentication_classes=[SessionAuthentication])
    return view(request, **named)


def refused(
    request: HttpRequest,
    answer: Response,
    template: str = "fl_server_api/refused.html",
    **shown: Any,
) -> HttpResponse:
    """Show why the API refuses, in its words (`told`) and under its status."""
    if answer.status_code == HTTPStatus.NOT_FOUND:
        template = "404.html"
    shown["told"] = sentences(answer.data)
    page = render(request, template, shown, status=answer.status_code)
    if "Retry-After" in answer:
        page["Retry-After"] = answer["Retry-After"]
    return page


def sentences(said: object) -> list[str]:
    """Return what an error says, whether it is a sentence, a list of some, or these by field."""
    if isinstance(said, dict):
        found = ((name, text) for name, value in said.items() for text in sentences(value))
        return [text if name == "detail" else f"{name}: {text}" for name, text in found]
    if isinstance(said, (list, tuple)):
        return [text for value in said for text in sentences(value)]
    return [str(said)]
