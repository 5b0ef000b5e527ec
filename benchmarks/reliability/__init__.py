"""Long campaigns whose counts stand in docs/reliability.md; each is one command.

A campaign is a module here with a `main(arguments)`: it prints what it tried and what came out,
ends with the line of `_counts.line`, and exits with 1 if anything was wrong, crashed or hung.
"""
