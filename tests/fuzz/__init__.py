"""Calls what models may call with arguments that no model has, in children that may die of it."""
