"""The rows: users, models, trainings, what participants report, notifications."""

from fl_server_core.models.act import Act
from fl_server_core.models.checkpoint import Checkpoint
from fl_server_core.models.invitation import Invitation
from fl_server_core.models.metric import Metric
from fl_server_core.models.model import GlobalModel, LocalModel, MeanModel, Model, SWAGModel
from fl_server_core.models.moments import Moments
from fl_server_core.models.notification import Notification
from fl_server_core.models.stats import ModelStats
from fl_server_core.models.token import Token
from fl_server_core.models.tracking import Tracking
from fl_server_core.models.training import Training
from fl_server_core.models.upload import Upload
from fl_server_core.models.user import User

__all__ = [
    "Act",
    "Checkpoint",
    "GlobalModel",
    "Invitation",
    "LocalModel",
    "MeanModel",
    "Metric",
    "Model",
    "ModelStats",
    "Moments",
    "Notification",
    "SWAGModel",
    "Token",
    "Tracking",
    "Training",
    "Upload",
    "User",
]
