"""Ensembles: several models, one pass each."""

from fl_server_ai.uncertainty.walk import Prediction, Run, walk


def ensemble(run: Run) -> Prediction:
    """Return the mean of the members' outputs.

    Lakshminarayanan, Pritzel, Blundell 2017, "Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles", arXiv 1612.01474, section 2.4. That participants' local
    models are an ensemble: Linsner et al. 2021, "Approaches to Uncertainty Quantification in
    Federated Deep Learning".
    """
    return walk(run.output(member.fresh()) for member in run.members)
