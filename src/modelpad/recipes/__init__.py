"""Recipes: everything that trains one kind of model, a folder each."""
