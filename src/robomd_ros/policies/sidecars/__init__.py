"""What runs beside us: policies whose libraries have an environment of their own, and how that environment is made."""
