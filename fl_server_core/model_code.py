"""Who may hand out code to participants and readers: `FL_MODEL_CODE` and a permission say so."""

from django.conf import settings

from fl_server_core.exceptions import PermissionDenied
from fl_server_core.models import User

ANY, TRUSTED, NONE = "any", "trusted", "none"

ALTERNATIVE = (
    "Weights alone are taken from anybody: a safetensors file or torch.save(model.state_dict(), "
    "file), without preprocessing. Such a model is trained like any, but makes no predictions."
)
REFUSALS = {
    TRUSTED: (
        "Here only users with the permission to upload code may send models that carry code, or "
        f"preprocessing: ask the server's operator for it. {ALTERNATIVE}"
    ),
    NONE: f"This server takes no models that carry code, and no preprocessing. {ALTERNATIVE}",
}


def may_hand_out_code(user: User) -> bool:
    """Tell whether the user may upload what others' machines run."""
    if settings.FL_MODEL_CODE == TRUSTED:
        return user.has_perm("fl_server_core.upload_code")
    return bool(settings.FL_MODEL_CODE == ANY)


def check_may_hand_out_code(user: User) -> None:
    """Raise `PermissionDenied` where the user may not."""
    if not may_hand_out_code(user):
        raise code_refused()


def code_refused() -> PermissionDenied:
    """Return the error for code that isn't taken, which says what is."""
    return PermissionDenied(REFUSALS[settings.FL_MODEL_CODE])
