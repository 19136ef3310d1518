"""Record facts and project them into scores: the one write path."""
