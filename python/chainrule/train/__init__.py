"""The training job: from settings to a run folder.

- `settings`: what a run is made with, from flags, TOML or Python, checked and complete. `kinds`: its values.
- `build`: the tables of data sets and models by name, and their defaults.
- `fit`: the loop. `evaluate`: a model on a test set.
- `checkpoint`: a run's whole state as one file. `run_folder`: files that are written whole or not at all.
- `job`: all of these as one job, new or resumed. `summary`: its report.

`job`, `summary`, `checkpoint` and TOML files need the packages of the extra `cli`; the rest needs NumPy alone.
"""
