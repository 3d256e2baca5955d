"""Packages in nodes: repositories, databases, one universe, the solver, transactions, proof."""
