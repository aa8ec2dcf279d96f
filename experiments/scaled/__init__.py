"""A searched family against one network that is scaled in width."""
