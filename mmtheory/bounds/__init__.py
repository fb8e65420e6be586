"""Bounds on risk and complexity: Rademacher, Huang's theorems and their sharp forms, PAC-Bayes, uniform deviation."""
