"""Store the definitions of score types; build, preview and apply drafts."""
