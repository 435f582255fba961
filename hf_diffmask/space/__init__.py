"""The Space: a page that explains, lets its claims be tried, and compares them."""
