"""Searches the options of a recipe.

`space` is what is tried, `proposals` chooses the next values, `journal` keeps the trials, `search`
runs them and trains the best, `command` and `report` show them.
"""
