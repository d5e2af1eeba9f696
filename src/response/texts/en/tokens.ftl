### Personal access tokens.
