"""The table of all pages: each is photographed, and tried for its accessibility."""

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page

from tests.browsing.world import World

WIDTHS = (1280, 400)
SCHEMES = ("light", "dark")


def predict(page: Page, world: World) -> None:
    """Try a prediction of a digit's image."""
    page.set_input_files(
        "#file", {"name": "digit.png", "mimeType": "image/png"} | {"buffer": world.digit}
    )
    page.click("form:has(#file) button")
    page.wait_for_selector("#result article")


def await_layers(page: Page, world: World) -> None:
    """Wait until the layers are known."""
    page.wait_for_selector("#known:not([data-waits])")


def await_operations(page: Page, world: World) -> None:
    """Wait until Swagger UI has drawn itself."""
    page.wait_for_selector(".opblock")


@dataclass(frozen=True)
class Sight:
    """A page, by its path with the world's names in braces; `acts` are done there first."""

    name: str
    path: str
    acts: tuple[Callable[[Page, World], None], ...] = ()
    signed_in: bool = True
    of_a_library: bool = False
    """Whether somebody else has written it; then its accessibility isn't ours to hold."""
    in_the_dark: bool = False
    """Whether it is photographed in dark colours as well."""


PAGES = [
    Sight("start", "/"),
    Sight("sign-in", "/api-auth/login/", signed_in=False),
    Sight("trainings", "/trainings/"),
    Sight("training", "/trainings/{training}/", in_the_dark=True),
    Sight("order", "/trainings/{training}/orders/rollback/"),
    Sight("new-training", "/trainings/new/"),
    Sight("models", "/models/"),
    Sight("model", "/models/{model}/", acts=(await_layers, predict), in_the_dark=True),
    Sight("record", "/trainings/{training}/record/"),
    Sight("refused", "/models/{nowhere}/"),
    Sight("admin", "/admin/", of_a_library=True),
    Sight("admin-list", "/admin/fl_server_core/training/", of_a_library=True),
    Sight("swagger", "/api/schema/swagger-ui/", acts=(await_operations,), of_a_library=True),
]
