"""The parts of the HTML page: figures, chance, facts and search."""
