"""What users pass, checked and turned into arrays and numbers; `validate` is the door."""
