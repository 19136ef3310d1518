"""Read scores, histories, segments and counts."""
