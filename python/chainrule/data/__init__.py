"""Data sets, batches, and input normalisation. Nothing here knows a graph."""

from chainrule.data.augment import Augment
from chainrule.data.cifar10 import load_cifar10
from chainrule.data.dataset import DataError, Dataset, Split
from chainrule.data.digits import load_digits
from chainrule.data.loader import DataLoader
from chainrule.data.mnist import load_mnist
from chainrule.data.normalise import GCN, Identity, Normaliser, Scale, Standardise
from chainrule.data.npz import load_npz
from chainrule.data.pipeline import Pipeline, normaliser_from_state
from chainrule.data.whiten import ZCA, Whiten

__all__ = [
    "GCN",
    "ZCA",
    "Augment",
    "DataError",
    "DataLoader",
    "Dataset",
    "Identity",
    "Normaliser",
    "Pipeline",
    "Scale",
    "Split",
    "Standardise",
    "Whiten",
    "load_cifar10",
    "load_digits",
    "load_mnist",
    "load_npz",
    "normaliser_from_state",
]
