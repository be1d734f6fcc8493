"""How tests ask a local shop in process."""


def data_of(store, document, variables=None, **options):
    """Carries out a document that must succeed and returns its data."""
    answer = store.execute(document, variables, **options)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


def run(store, document, scopes=None, **variables):
    """Carries out a document that must succeed and returns the value of its first field."""
    return next(iter(data_of(store, document, variables, scopes=scopes).values()))
