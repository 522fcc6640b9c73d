"""What several formats show: words, extracts, pictures and the verdict."""
