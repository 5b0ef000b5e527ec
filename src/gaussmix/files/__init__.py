"""Files of models and fits: one container, its records, and reading and writing them whole."""
