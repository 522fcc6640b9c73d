"""Attacks are chosen, timed, stepped and resumed."""
