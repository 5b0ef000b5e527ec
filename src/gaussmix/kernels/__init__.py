"""The passes over the rows, once per backend; `contract` says what a backend has to do."""
