"""asv suites; each class states the question it answers. CONTRIBUTING.md says how to run them."""
