"""What makes the site of the documentation, beside mkdocs.yml: `uv run mkdocs build --strict`."""
