### Persönliche Zugriffstoken.
