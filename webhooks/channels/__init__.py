"""How a delivery leaves us: a claimed delivery -> something sent -> Outcome."""
