"""What the recipes for text share: tokens, networks, language modelling, the graph.

The modules that train depend on torch and NumPy alone.
"""
