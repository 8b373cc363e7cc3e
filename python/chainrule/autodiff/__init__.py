"""The mechanism of differentiation: gates, the reverse walk, the graph as a user sees it, and checks.

Nothing here knows a single operation; those are in `chainrule.gates`.
"""
