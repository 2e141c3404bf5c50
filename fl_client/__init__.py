"""A client of the federated-learning server, and the command `fl`.

    Client          a participant: decorate functions that train and test, and run it
    Job             what such a function is asked for
    Moments, swag_moments   SWAG's moments
    ProximalTerm    FedProx' term of a loss
    Scaffold, with_controls   SCAFFOLD's control variates
    PrivateUpdate, privatize, epsilon   a clipped update with noise, and what that promises
    Api             each request by itself

Needs neither Django nor torch; torch is imported where a model of torch's is loaded.
"""

from fl_client.api import Api
from fl_client.client import Client
from fl_client.errors import FlError, Refused, Unfit, Unknown, Unreachable, Untrusted
from fl_client.fedprox import ProximalTerm
from fl_client.job import Job
from fl_client.privacy import PrivateUpdate, epsilon, privatize
from fl_client.scaffold import Scaffold, with_controls
from fl_client.swag import Moments, swag_moments
from fl_client.transport import Transport

__all__ = [
    "Api",
    "Client",
    "FlError",
    "Job",
    "Moments",
    "PrivateUpdate",
    "ProximalTerm",
    "Refused",
    "Scaffold",
    "Transport",
    "Unfit",
    "Unknown",
    "Unreachable",
    "Untrusted",
    "epsilon",
    "privatize",
    "swag_moments",
    "with_controls",
]
