"""Model bundle -> ranked products -> pyfunc and registry."""
