"""Read contacts, scores, histories, segments and metrics from the database."""
