"""How it is asked for: urls, views, request schemas, serializers, permissions, OpenAPI."""
