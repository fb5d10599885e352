"""Money that is owed for what was used on credit: asked for, and what follows when it does not come."""
