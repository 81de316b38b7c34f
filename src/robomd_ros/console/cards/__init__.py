"""The cards of the page, one a file: each is built once and then updated in place."""
