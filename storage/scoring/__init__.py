"""Keep the definitions of score types, and build drafts of them."""
