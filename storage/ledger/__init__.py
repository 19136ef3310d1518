"""Record facts and project them into scores. All writes about contacts go through this package."""
