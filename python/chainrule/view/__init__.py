"""Pictures of data, training and what a net has learned, as image arrays.

This module needs NumPy alone; `plots`, `sheet`, `png` and `report` need what the extra `cli` installs and are imported
by name.
"""

from chainrule.view.attribution import backproject, explanations, saliency, side_by_side
from chainrule.view.class_map import class_activation_map
from chainrule.view.confusion import confusion_matrix, precision_recall
from chainrule.view.layers import activations, feature_maps
from chainrule.view.patches import Patches, cut, exciting_patches
from chainrule.view.pictures import (
    Picture,
    filters,
    heat,
    overlay,
    resize,
    signed_pixels,
    templates,
    tile,
    to_pixels,
)
from chainrule.view.receptive_field import Sight, sight

__all__ = [
    "Patches",
    "Picture",
    "Sight",
    "activations",
    "backproject",
    "class_activation_map",
    "confusion_matrix",
    "cut",
    "exciting_patches",
    "explanations",
    "feature_maps",
    "filters",
    "heat",
    "overlay",
    "precision_recall",
    "resize",
    "saliency",
    "side_by_side",
    "sight",
    "signed_pixels",
    "templates",
    "tile",
    "to_pixels",
]
