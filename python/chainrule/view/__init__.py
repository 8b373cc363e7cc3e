"""Pictures of training: weights as images, confusion matrices, plots and the report.

This module needs NumPy alone; `plots`, `png` and `report` need what the extra `cli` installs and are imported
by name.
"""

from chainrule.view.confusion import confusion_matrix, precision_recall
from chainrule.view.pictures import templates, tile, to_pixels

__all__ = ["confusion_matrix", "precision_recall", "templates", "tile", "to_pixels"]
