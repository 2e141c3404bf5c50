"""The pages about models: which there are for somebody, and each with all that is known of it."""

from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from fl_server_api.pages.asking import ask, page, refused
from fl_server_api.pages.drawing import draw
from fl_server_api.pages.layers import layers_of
from fl_server_api.pages.looking import find_model, user_of
from fl_server_api.pages.trial import LONGEST, Trial
from fl_server_core.models import Checkpoint, Model, Training, User
from fl_server_core.models.model import ModelKind

TEMPLATE = "fl_server_api/model.html"

EACH = 50
"""Models on one page of the list."""
MOST_VERSIONS = 50
"""The newest; the API lists all."""
MOST_MEMBERS = 20
MOST_METRICS = 4


@require_safe
@page
def models(request: HttpRequest) -> HttpResponse:
    """List the models that the API lists, the newest first."""
    rows = Model.objects.listed_for(user_of(request)).order_by("-created_at", "id")
    rows = rows.select_related("owner", "training", "base_model")
    found = Paginator(rows, EACH).get_page(request.GET.get("page"))
    return render(request, "fl_server_api/models.html", {"models": found})


@csrf_exempt  # the API's view asks for the token; here the body would be read for anybody
@require_http_methods(["GET", "HEAD", "POST"])
@page
def model(request: HttpRequest, id: UUID) -> HttpResponse:
    """Show a model to its readers; a POST is an input for it, and shows its prediction too."""
    shown = _about(find_model(request, id), user_of(request))
    if request.method != "POST":
        return render(request, TEMPLATE, shown)
    answer = ask(request, Trial, "create", id=str(id))
    if answer.status_code >= 400:
        return refused(request, answer, TEMPLATE, **shown)
    if answer.data is None:
        shown["told"] = [f"The answer has more than {LONGEST} bytes: the API gives it."]
    else:
        shown["drawn"] = draw(answer.data)
    return render(request, TEMPLATE, shown)


def _about(model: Model, user: User) -> dict[str, object]:
    """Return all that a page shows of a model to one of its readers."""
    described = model.global_model
    versions = list(model.checkpoints.order_by("-created_at", "-id")[:MOST_VERSIONS])
    return {
        "model": model,
        "described": described,
        "is_update": model.kind == ModelKind.LOCAL,
        "may_use": Model.objects.usable_by(user).filter(pk=model.pk).exists(),
        "can_predict": bool(described.serving_file or not described.weights_only),
        "layers": layers_of(model),
        "trainings": Training.objects.involving(user).filter(model=described.pk),
        "updates": model.local_models.count(),
        **_versions(model, versions),
        **_members(model, user),
    }


def _versions(model: Model, versions: list[Checkpoint]) -> dict[str, object]:
    """Return the newest versions, each with its metrics in the order of their names."""
    means = [version.metric_means or {} for version in versions]
    names = sorted({name for mean in means for name in mean})[:MOST_METRICS]
    rows = [[(name, mean.get(name)) for name in names] for mean in means]
    return {
        "versions": list(zip(versions, rows, strict=True)),
        "metrics": names,
        "older": model.checkpoints.count() - len(versions),
    }


def _members(model: Model, user: User) -> dict[str, object]:
    """Return the models that a MEAN model averages, as far as this user may look at them."""
    if model.kind != ModelKind.MEAN:
        return {}
    members = model.members.all()
    seen = list(members.filter(pk__in=Model.objects.readable_by(user))[:MOST_MEMBERS])
    return {"members": seen, "more_members": members.count() - len(seen)}
