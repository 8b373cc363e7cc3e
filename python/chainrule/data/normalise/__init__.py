"""Input normalisation, fitted on the training set alone: one file for each way of doing it.

A normaliser is fitted once, `normaliser.fit(x_train)`, and then maps any input of the same shape to float32:
training, test and new images alike get the training set's statistics.
"""

from .base import Normaliser
from .scale import Identity, Scale
from .standardise import Standardise
from .state import normaliser_from_state
from .whiten import Whiten

__all__ = ["Identity", "Normaliser", "Scale", "Standardise", "Whiten", "normaliser_from_state"]
