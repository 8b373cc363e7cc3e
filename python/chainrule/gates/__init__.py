"""The operations: one file a family, each gate with its forward and backward side by side."""
